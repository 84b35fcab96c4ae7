module looparr.dev/sandbox/tools/pause

go 1.25.0
