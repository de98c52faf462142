package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/jobloop/jobloop/examples/internal/testcert"
	"github.com/jobloop/jobloop/internal/testkit"
)

// Clients get back what they send. When the server stops, they are told so.
func TestServer(t *testing.T) {
	testkit.CheckLeaks(t)
	certFile, keyFile, roots := testcert.RSA(t)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	at := make(chan net.Addr, 1)
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "127.0.0.1:0", certFile, keyFile, func(a net.Addr) { at <- a }) }()
	var addr string
	select {
	case a := <-at:
		addr = a.String()
	case err := <-ended:
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	dialer := websocket.Dialer{TLSClientConfig: config}
	var clients sync.WaitGroup
	var mu sync.Mutex
	var open []*websocket.Conn
	for i := range 10 {
		clients.Go(func() {
			c, _, err := dialer.DialContext(t.Context(), "wss://"+addr, nil)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			c.SetReadDeadline(time.Now().Add(testkit.Patience))
			for kind, want := range map[int][]byte{
				websocket.TextMessage:   fmt.Append(nil, "hello from ", i),
				websocket.BinaryMessage: bytes.Repeat([]byte{byte(i)}, maxMessage),
			} {
				if err := c.WriteMessage(kind, want); err != nil {
					t.Error(err)
				}
				if k, got, err := c.ReadMessage(); k != kind || !bytes.Equal(got, want) || err != nil {
					t.Errorf("got a message of kind %d with %d bytes, %v; want what was sent: kind %d, %d bytes", k, len(got), err, kind, len(want))
				}
			}
		})
	}
	clients.Wait()

	// A client that asks for no websocket is told so.
	tr := &http.Transport{TLSClientConfig: config}
	resp, err := (&http.Client{Transport: tr}).Get("https://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	tr.CloseIdleConnections()
	if resp.StatusCode != http.StatusBadRequest {
		t.Error(resp.Status)
	}

	stop()
	for _, c := range open {
		if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Errorf("%v, want that the server goes away", err)
		}
		c.Close()
	}
	if err := testkit.Receive(t, ended); err != nil {
		t.Error(err)
	}
}
