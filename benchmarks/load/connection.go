package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const connectTimeout = 60 * time.Second

// A slow client is made as one behind an Ethernet with little memory: over loopback the kernel would hold megabytes
// for it, and it would be minutes before the server notices anything.
const (
	slowReceiveBytes = 16 * 1024
	slowSegmentBytes = 1400
)

// server is where everything goes, and whom to trust.
type server struct {
	Host   string `json:"host"`
	Port   int    `json:"port"`
	CAFile string `json:"ca_file"`
}

// credentials prove who calls: a client certificate, a bearer token, or nothing.
type credentials struct {
	CertFile string `json:"cert_file"`
	KeyFile  string `json:"key_file"`
	Token    string `json:"token"`
}

// connector opens connections; each certificate is read once.
type connector struct {
	server  server
	roots   *x509.CertPool
	mu      sync.Mutex
	configs map[string]*tls.Config
}

func newConnector(to server) (*connector, error) {
	pem, err := os.ReadFile(to.CAFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", to.CAFile)
	}
	return &connector{server: to, roots: roots, configs: map[string]*tls.Config{}}, nil
}

func (c *connector) config(who credentials) (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if found := c.configs[who.CertFile]; found != nil {
		return found, nil
	}
	config := &tls.Config{RootCAs: c.roots, ServerName: c.server.Host, NextProtos: []string{"http/1.1"}}
	if who.CertFile != "" {
		certificate, err := tls.LoadX509KeyPair(who.CertFile, who.KeyFile)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	c.configs[who.CertFile] = config
	return config, nil
}

// connect opens a connection, its handshake done.
func (c *connector) connect(who credentials, slow bool) (*connection, error) {
	config, err := c.config(who)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: connectTimeout}
	if slow {
		dialer.Control = makeSlow
	}
	address := net.JoinHostPort(c.server.Host, strconv.Itoa(c.server.Port))
	plain, err := dialer.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(plain, config)
	secure.SetDeadline(time.Now().Add(connectTimeout))
	if err := secure.Handshake(); err != nil {
		plain.Close()
		return nil, err
	}
	secure.SetDeadline(time.Time{})
	return &connection{conn: secure, reader: bufio.NewReader(secure), token: who.Token}, nil
}

func makeSlow(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, slowReceiveBytes)
		if failed == nil {
			failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, slowSegmentBytes)
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// connection speaks HTTP/1.1, one request at a time.
type connection struct {
	conn   net.Conn
	reader *bufio.Reader
	token  string
}

func (c *connection) request(target string) []byte {
	head := "GET " + target + " HTTP/1.1\r\nhost: benchmark\r\naccept: application/json\r\n"
	if c.token != "" {
		head += "authorization: Bearer " + c.token + "\r\n"
	}
	return []byte(head + "\r\n")
}

// ask sends a request and returns the head of its answer, which must be 200.
func (c *connection) ask(request []byte) (*http.Response, error) {
	if _, err := c.conn.Write(request); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		body := make([]byte, 500)
		n, _ := response.Body.Read(body)
		return nil, fmt.Errorf("answered with %d: %s", response.StatusCode, body[:n])
	}
	return response, nil
}
