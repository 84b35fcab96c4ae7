// Pause is what keeps a pod's namespaces alive: it waits until it is told to end.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const version = "v1.0.0"

func main() {
	if len(os.Args) > 1 {
		fmt.Println("pause", version)
		return
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	<-told
}
