package plainhttp

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A client without TLS gets an answer that it can read. Other bytes get none.
func TestAnswer(t *testing.T) {
	for _, tt := range []struct {
		sent string
		want bool
	}{
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", true},
		{"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", true},
		{"PUT /x HTTP/1.0\r\n\r\n", true},
		{"EHLO example.org\r\n", true}, // it is not told from a method
		{"GE / HTTP/1.1\r\n", false},
		{"get / HTTP/1.1\r\n", false},
		{"\x00\x01\x02\x03\x04\x05\x06", false},
		{"SSH-2.0-x\r\n", false},
	} {
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			Answer(tls.Server(server, &tls.Config{}).Handshake())
			server.Close()
		}()
		go io.WriteString(client, tt.sent)
		all, _ := io.ReadAll(client)
		<-done
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(all))), nil)
		if (err == nil) != tt.want {
			t.Errorf("%q: answered %q", tt.sent, all)
		}
		if err != nil {
			continue
		}
		if b, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusBadRequest || !resp.Close || err != nil || !strings.Contains(string(b), "HTTPS") {
			t.Errorf("%q: %s, %q, %v", tt.sent, resp.Status, b, err)
		}
	}
}

// A handshake that fails for another reason gets no answer.
func TestNoAnswer(t *testing.T) {
	client, server := net.Pipe()
	go func() {
		Answer(tls.Server(server, &tls.Config{}).Handshake()) // there is no certificate
		Answer(nil)
		server.Close()
	}()
	err := tls.Client(client, &tls.Config{InsecureSkipVerify: true}).Handshake()
	if err == nil || strings.Contains(err.Error(), "HTTP") {
		t.Error(err)
	}
}
