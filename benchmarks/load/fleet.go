package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

const (
	connectsAtOnce = 32
	maxFaults      = 10
	// The histogram of latencies: steps of 0.1 ms, up to 30 s. Python: benchmarks/support/fleet.py
	latencyStepNs = 100_000
	latencySteps  = 300_000
)

// watchSpec is the first line of `load watch`.
type watchSpec struct {
	server
	Watchers []*watcher `json:"watchers"`
}

// watchCommand is every line after it. Expected is the number of the last update of each object.
//
//	report    where everybody is
//	reset     the same, and counts from here
//	stop      the slow ones read nothing from now on; what they miss is not asked for until they go on
//	go        the slow ones read on
type watchCommand struct {
	Do       string           `json:"do"`
	Expected map[string]int64 `json:"expected"`
}

// watchReport answers the specification, once all watches are open, and every command. Behind are watchers that have
// not got the last update; latencies are those of watchers that are not slow.
type watchReport struct {
	Behind    int           `json:"behind"`
	Delivered int64         `json:"delivered"`
	Bytes     int64         `json:"bytes"`
	Resumed   int64         `json:"resumed"`
	Faults    []string      `json:"faults"`
	Latencies map[int]int64 `json:"latencies"`
}

// fleet is all watchers, and what they saw.
type fleet struct {
	connector *connector
	watchers  []*watcher
	gate      sync.RWMutex // held while the slow ones are stopped
	stopped   bool
	delivered atomic.Int64
	bytes     atomic.Int64
	resumed   atomic.Int64
	latencies [latencySteps]atomic.Int64
	mu        sync.Mutex
	faults    []string
}

func watch(in *json.Decoder, out *json.Encoder) error {
	var spec watchSpec
	if err := in.Decode(&spec); err != nil {
		return err
	}
	connector, err := newConnector(spec.server)
	if err != nil {
		return err
	}
	fleet := &fleet{connector: connector, watchers: spec.Watchers, faults: []string{}}
	if err := fleet.open(); err != nil {
		return err
	}
	if err := out.Encode(fleet.report(nil)); err != nil {
		return err
	}
	for {
		var command watchCommand
		if err := in.Decode(&command); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if command.Do == "stop" {
			fleet.stop()
		}
		if err := out.Encode(fleet.report(command.Expected)); err != nil {
			return err
		}
		switch command.Do {
		case "reset":
			fleet.reset()
		case "go":
			fleet.goOn()
		}
	}
}

// open returns when every watch is open.
func (f *fleet) open() error {
	failures := make([]error, len(f.watchers))
	slots := make(chan struct{}, connectsAtOnce)
	var all sync.WaitGroup
	for i, each := range f.watchers {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			events, err := each.open(f)
			if err != nil {
				failures[i] = fmt.Errorf("a watch did not open: %w", err)
				return
			}
			go each.follow(events)
		})
	}
	all.Wait()
	return errors.Join(failures...)
}

func (f *fleet) stop() {
	if !f.stopped {
		f.gate.Lock()
		f.stopped = true
	}
}

func (f *fleet) goOn() {
	if f.stopped {
		f.gate.Unlock()
		f.stopped = false
	}
}

func (f *fleet) fault(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.faults) < maxFaults {
		f.faults = append(f.faults, text)
	}
}

func (f *fleet) count(latencyNs int64) {
	step := max(latencyNs/latencyStepNs, 0)
	f.latencies[min(step, latencySteps-1)].Add(1)
}

func (f *fleet) reset() {
	f.delivered.Store(0)
	f.bytes.Store(0)
	for i := range f.latencies {
		f.latencies[i].Store(0)
	}
}

func (f *fleet) report(expected map[string]int64) watchReport {
	report := watchReport{
		Delivered: f.delivered.Load(),
		Bytes:     f.bytes.Load(),
		Resumed:   f.resumed.Load(),
		Latencies: map[int]int64{},
	}
	for _, each := range f.watchers {
		if each.last.Load() != expected[each.Object] && !(f.stopped && each.Slow) {
			report.Behind++
		}
	}
	for step := range f.latencies {
		if count := f.latencies[step].Load(); count > 0 {
			report.Latencies[step] = count
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	report.Faults = append([]string{}, f.faults...)
	return report
}
