// Command servers is the way of the Makefile into package testserver:
//
//	servers start    starts the four servers on fixed ports, for work by hand
//	servers stop     ends them
//	servers cluster  starts a Redis Cluster and a Sentinel set, prints how to reach them, and ends
//	                 them at Ctrl-C
//	servers missing  lists the Debian packages of servers and Chromium that are not installed
//	servers build    builds FerretDB, unless that was done before
//	servers chromium prints the path of Chromium
//
// It works on the checkout that it is run in. An error goes to standard error
// and makes the exit code 1.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/flamego/session/internal/testing/testserver"
)

func main() {
	testserver.Reexec()
	command := ""
	if len(os.Args) == 2 {
		command = os.Args[1]
	}
	var err error
	switch command {
	case "start":
		err = testserver.Start(os.Stdout)
	case "stop":
		err = testserver.Stop(os.Stdout)
	case "cluster":
		err = testserver.Cluster(os.Stdout)
	case "missing":
		fmt.Println(strings.Join(testserver.Missing(), " "))
	case "chromium":
		var path string
		if path, err = testserver.FindChromium(); err == nil {
			fmt.Println(path)
		}
	case "build":
		_, err = testserver.BuildFerretDB()
	default:
		err = fmt.Errorf("usage: servers start | stop | cluster | missing | build | chromium")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
