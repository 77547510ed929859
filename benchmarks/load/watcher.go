package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"
	"time"
)

// The mark that a busy object carries: `"benchmark":"OBJECT NUMBER SENT_NS"`. Python: benchmarks/support/mark.py
const markBegin = `"benchmark":"`

var (
	modified        = []byte(`{"type":"MODIFIED"`)
	resourceVersion = []byte(`"resourceVersion":"`)
)

// watcherSpec is one watch. Object is the only one it must see, empty for none. A slow one can be stopped.
type watcherSpec struct {
	credentials
	Path   string `json:"path"`
	Object string `json:"object"`
	Slow   bool   `json:"slow"`
}

// watcher lists, then watches from there, on one connection, as clients do; and checks what it gets: every event is
// the MODIFIED of its object, numbered one more than the last. Anything else is a fault.
type watcher struct {
	watcherSpec
	fleet *fleet
	begin []byte // how the mark of its object begins
	rv    string // of the last event, kept where the watch may have to be resumed
	last  atomic.Int64
	long  []byte // an event that does not fit into the reader's buffer
}

// open returns the events of a new watch.
func (w *watcher) open(fleet *fleet) (*bufio.Reader, error) {
	w.fleet = fleet
	w.begin = []byte(markBegin + w.Object + " ")
	connection, err := fleet.connector.connect(w.credentials, w.Slow)
	if err != nil {
		return nil, err
	}
	list, err := connection.ask(connection.request(w.Path))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(list.Body)
	if err != nil {
		return nil, err
	}
	if own := bytes.Index(body, w.begin); w.Object != "" && own >= 0 {
		number, _, err := readMark(body[own+len(w.begin):])
		if err != nil {
			return nil, err
		}
		w.last.Store(number)
	}
	w.rv = versionIn(body) // a list's own metadata come before its items
	return w.watchFrom(connection)
}

func (w *watcher) watchFrom(connection *connection) (*bufio.Reader, error) {
	answer, err := connection.ask(connection.request(w.Path + "?watch=true&resourceVersion=" + w.rv))
	if err != nil {
		return nil, err
	}
	return bufio.NewReader(answer.Body), nil
}

// follow reads events until the process ends. A slow watcher whose stream is ended resumes where it was.
func (w *watcher) follow(events *bufio.Reader) {
	for {
		err := w.read(events)
		if !w.Slow {
			w.fleet.fault(fmt.Sprintf("the watch of %s ended by itself: %v", w.Object, err))
			return
		}
		connection, err := w.fleet.connector.connect(w.credentials, w.Slow)
		if err == nil {
			events, err = w.watchFrom(connection)
		}
		if err != nil {
			w.fleet.fault(fmt.Sprintf("the watch of %s could not be resumed at %s: %v", w.Object, w.rv, err))
			return
		}
		w.fleet.resumed.Add(1)
	}
}

func (w *watcher) read(events *bufio.Reader) error {
	for {
		if w.Slow {
			w.fleet.gate.RLock()
			w.fleet.gate.RUnlock() //nolint:staticcheck // waits while the slow ones are stopped
		}
		event, err := w.line(events)
		if err != nil {
			return err
		}
		w.check(event, time.Now())
	}
}

// line returns the next line, good until the next call.
func (w *watcher) line(events *bufio.Reader) ([]byte, error) {
	part, err := events.ReadSlice('\n')
	if err == nil {
		return part, nil
	}
	w.long = w.long[:0]
	for errors.Is(err, bufio.ErrBufferFull) {
		w.long = append(w.long, part...)
		part, err = events.ReadSlice('\n')
	}
	w.long = append(w.long, part...)
	return w.long, err
}

func (w *watcher) check(event []byte, received time.Time) {
	own := bytes.Index(event, w.begin)
	if w.Object == "" || own < 0 || !bytes.HasPrefix(event, modified) {
		w.fleet.fault(fmt.Sprintf("the watcher of %s was shown %.300s", w.Object, event))
		return
	}
	number, sentNs, err := readMark(event[own+len(w.begin):])
	if err != nil {
		w.fleet.fault(err.Error())
		return
	}
	if last := w.last.Load(); number != last+1 {
		w.fleet.fault(fmt.Sprintf("%s: %d after %d", w.Object, number, last))
	}
	if w.Slow {
		w.rv = versionIn(event)
	} else {
		w.fleet.count(received.UnixNano() - sentNs)
	}
	w.fleet.delivered.Add(1)
	w.fleet.bytes.Add(int64(len(event)))
	w.last.Store(number)
}

// readMark reads `NUMBER SENT_NS"`, what follows the name in a mark.
func readMark(rest []byte) (number, sentNs int64, err error) {
	if end := bytes.IndexByte(rest, '"'); end >= 0 {
		if first, second, ok := bytes.Cut(rest[:end], []byte(" ")); ok {
			number, err = strconv.ParseInt(string(first), 10, 64)
			if err == nil {
				sentNs, err = strconv.ParseInt(string(second), 10, 64)
			}
			return number, sentNs, err
		}
	}
	return 0, 0, fmt.Errorf("a broken mark: %.60s", rest)
}

func versionIn(object []byte) string {
	_, rest, _ := bytes.Cut(object, resourceVersion)
	version, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(version)
}
