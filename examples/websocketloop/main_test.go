package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/examples/internal/testcert"
	"github.com/jobloop/jobloop/internal/testkit"
)

func TestMain(m *testing.M) {
	new(fasthttp.Response).WriteTo(io.Discard) // starts a goroutine that stays
	m.Run()
}

// start runs the server until stop is called.
func start(t *testing.T) (dial func() *websocket.Conn, addr string, client *http.Client, stop func()) {
	t.Helper()
	certFile, keyFile, roots := testcert.RSA(t)
	ctx, cancel := context.WithCancel(context.Background())
	at := make(chan net.Addr, 1)
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "127.0.0.1:0", certFile, keyFile, 2, func(a net.Addr) { at <- a }) }()
	select {
	case a := <-at:
		addr = a.String()
	case err := <-ended:
		t.Fatal(err)
	}
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
	dial = func() *websocket.Conn {
		c, _, err := dialer.DialContext(t.Context(), "wss://"+addr+"/echo", http.Header{"Origin": {"https://" + addr}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetReadDeadline(time.Now().Add(testkit.Patience))
		return c
	}
	client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}}}
	t.Cleanup(client.CloseIdleConnections)
	return dial, addr, client, sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Clients get back what they send, and pongs. When the server stops, they are told so.
func TestServer(t *testing.T) {
	testkit.CheckLeaks(t)
	dial, _, _, stop := start(t)
	defer stop()
	var open []*websocket.Conn
	for i := range 5 {
		c := dial()
		open = append(open, c)
		ponged := false
		c.SetPongHandler(func(string) error { ponged = true; return nil })
		for kind, want := range map[int][]byte{
			websocket.TextMessage:   fmt.Append(nil, "hello from ", i),
			websocket.BinaryMessage: bytes.Repeat([]byte{byte(i)}, maxMessage),
		} {
			if err := errors.Join(c.WriteControl(websocket.PingMessage, []byte("?"), time.Now().Add(testkit.Patience)), c.WriteMessage(kind, want)); err != nil {
				t.Error(err)
			}
			if k, got, err := c.ReadMessage(); k != kind || !bytes.Equal(got, want) || err != nil {
				t.Errorf("got kind %d with %d bytes, %v; want kind %d, %d bytes", k, len(got), err, kind, len(want))
			}
		}
		if !ponged {
			t.Error("a ping was not answered")
		}
	}
	told := make(chan error, len(open))
	for _, c := range open {
		go func() {
			_, _, err := c.ReadMessage()
			told <- err
		}()
	}
	stop()
	for range open {
		if err := testkit.Receive(t, told); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Errorf("told %v, want that the server goes away", err)
		}
	}
}

// A client that breaks the rules is told which, and no other connection ends.
func TestRules(t *testing.T) {
	testkit.CheckLeaks(t)
	dial, _, _, stop := start(t)
	defer stop()
	good := dial()
	large := make([]byte, maxMessage+1)
	masked := func(first byte, payload string) []byte { // with a mask of zeros
		return append([]byte{first, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)
	}
	for what, test := range map[string]struct {
		send func(c *websocket.Conn) error
		want int
	}{
		"large":            {func(c *websocket.Conn) error { return c.WriteMessage(websocket.BinaryMessage, large) }, websocket.CloseMessageTooBig},
		"not UTF-8":        {func(c *websocket.Conn) error { return c.WriteMessage(websocket.TextMessage, []byte{0xff}) }, websocket.CloseInvalidFramePayloadData},
		"not masked":       {raw([]byte{0x82, 1, 'x'}), websocket.CloseProtocolError},
		"reserved bits":    {raw(masked(0xc2, "x")), websocket.CloseProtocolError},
		"reserved opcode":  {raw(masked(0x83, "x")), websocket.CloseProtocolError},
		"continues none":   {raw(masked(0x80, "x")), websocket.CloseProtocolError},
		"ping in parts":    {raw(masked(0x09, "x")), websocket.CloseProtocolError},
		"length of 63 bit": {raw([]byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}), websocket.CloseMessageTooBig},
	} {
		bad := dial()
		go test.send(bad)
		if _, _, err := bad.ReadMessage(); !websocket.IsCloseError(err, test.want) {
			t.Errorf("%s: told %v, want %d", what, err, test.want)
		}
		bad.Close()
	}
	if err := good.WriteMessage(websocket.TextMessage, []byte("still here")); err != nil {
		t.Error(err)
	}
	if _, got, err := good.ReadMessage(); string(got) != "still here" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	good.Close()
}

// raw sends bytes that are no message of gorilla's.
func raw(b []byte) func(*websocket.Conn) error {
	return func(c *websocket.Conn) error { _, err := c.NetConn().Write(b); return err }
}

// Pages are served at the same address. Who asks for a websocket in another way, or from
// another site's page, does not get one.
func TestRequests(t *testing.T) {
	testkit.CheckLeaks(t)
	_, addr, client, stop := start(t)
	defer stop()
	defer client.CloseIdleConnections()
	valid := map[string]string{
		"Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": "https://" + addr, // the key of RFC 6455, section 1.3
	}
	for _, test := range []struct {
		path, field, value string // instead of the valid one
		want               int
	}{
		{"/", "Upgrade", "", 200},
		{"/nothing", "Upgrade", "", 404},
		{"/echo", "", "", 101},
		{"/echo", "Origin", "", 101}, // not a browser
		{"/echo", "Origin", "https://elsewhere.example", 403},
		{"/echo", "Origin", "http://" + addr, 403},
		{"/echo", "Origin", "null", 403},
		{"/echo", "Origin", ":", 403},
		{"/echo", "Upgrade", "", 426},
		{"/echo", "Connection", "keep-alive", 426},
		{"/echo", "Sec-WebSocket-Version", "8", 426},
		{"/echo", "Sec-WebSocket-Key", "short", 426},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+addr+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range valid {
			req.Header.Set(name, value)
		}
		if req.Header.Set(test.field, test.value); test.value == "" {
			req.Header.Del(test.field)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != test.want {
			t.Errorf("%s with %s %q: %s, want %d", test.path, test.field, test.value, resp.Status, test.want)
		}
		if got := resp.Header.Get("Sec-WebSocket-Accept"); test.want == 101 && got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Errorf("Sec-WebSocket-Accept is %q", got)
		}
	}
}
