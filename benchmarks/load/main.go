// Load holds the clients of a benchmark: `load watch` many watchers, `load get` connections that send requests.
//
// It is told by JSON lines on stdin what to do, answers each with a JSON line on stdout, and ends with its input. The
// first line is the specification. Whatever cannot be done ends it with status 1 and a line on stderr.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
)

// Rare collections: a pause here would be measured as the server's.
const gcPercent = 800

func main() {
	debug.SetGCPercent(gcPercent)
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "watch":
		err = watch(in, out)
	case len(os.Args) == 2 && os.Args[1] == "get":
		err = get(in, out)
	default:
		err = fmt.Errorf("usage: load watch|get")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}
