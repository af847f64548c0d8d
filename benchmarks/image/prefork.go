// A preforking server: its children end when they take themselves for orphans.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

func child() {
	go func() {
		for os.Getppid() != 1 {
			time.Sleep(100 * time.Millisecond)
		}
		os.Exit(1)
	}()
	share := func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, 15, 1) })
	}
	listener, err := (&net.ListenConfig{Control: share}).Listen(context.Background(), "tcp", ":3000")
	if err != nil {
		os.Exit(2)
	}
	http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello", r.URL.Path)
	}))
}

func main() {
	if os.Getenv("CHILD") != "" {
		child()
	}
	for i := 0; i < 2; i++ {
		command := exec.Command(os.Args[0])
		command.Env = append(os.Environ(), "CHILD=1")
		if i == 1 {
			fmt.Println("exit status", command.Run())
			os.Exit(1)
		}
		command.Start()
	}
}
