package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// getSpec is the first line of `load get`: so many requests for one target over so many connections, one request at a
// time on each.
type getSpec struct {
	server
	credentials
	Target      string `json:"target"`
	Connections int    `json:"connections"`
	Requests    int64  `json:"requests"`
}

// getReport is what comes out at the end. Latencies include reading the whole body.
type getReport struct {
	Seconds     float64   `json:"seconds"`
	Bytes       int64     `json:"bytes"`
	LatenciesMs []float64 `json:"latencies_ms"`
}

// get connects, says so with an empty object, begins with the next line, and reports when all are answered.
func get(in *json.Decoder, out *json.Encoder) error {
	var spec getSpec
	if err := in.Decode(&spec); err != nil {
		return err
	}
	connector, err := newConnector(spec.server)
	if err != nil {
		return err
	}
	connections := make([]*connection, spec.Connections)
	for i := range connections {
		if connections[i], err = connector.connect(spec.credentials, false); err != nil {
			return err
		}
	}
	if err := out.Encode(struct{}{}); err != nil {
		return err
	}
	var begin struct{}
	if err := in.Decode(&begin); err != nil {
		return err
	}
	report, err := send(connections, spec)
	if err != nil {
		return err
	}
	return out.Encode(report)
}

func send(connections []*connection, spec getSpec) (getReport, error) {
	var left atomic.Int64
	left.Store(spec.Requests)
	reports := make([]getReport, len(connections))
	failures := make([]error, len(connections))
	started := time.Now()
	var all sync.WaitGroup
	for i, each := range connections {
		all.Go(func() { reports[i], failures[i] = each.getWhile(spec.Target, &left) })
	}
	all.Wait()
	whole := getReport{Seconds: time.Since(started).Seconds(), LatenciesMs: []float64{}}
	for _, each := range reports {
		whole.Bytes += each.Bytes
		whole.LatenciesMs = append(whole.LatenciesMs, each.LatenciesMs...)
	}
	return whole, errors.Join(failures...)
}

// getWhile sends requests as long as some are left.
func (c *connection) getWhile(target string, left *atomic.Int64) (getReport, error) {
	var report getReport
	request := c.request(target)
	for left.Add(-1) >= 0 {
		sent := time.Now()
		response, err := c.ask(request)
		if err != nil {
			return report, err
		}
		size, err := io.Copy(io.Discard, response.Body)
		if err != nil {
			return report, fmt.Errorf("in an answer: %w", err)
		}
		report.Bytes += size
		report.LatenciesMs = append(report.LatenciesMs, time.Since(sent).Seconds()*1000)
	}
	return report, nil
}
