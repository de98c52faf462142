//go:build linux

package peer

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync/atomic"

	"github.com/jobloop/jobloop/engine/multibuffer"
)

// goPeer is a peer that is written here, in the way in which its library's
// documentation suggests. All have the same TLS configuration and the same answer.
// They run as this program's hidden command "serve".
type goPeer struct {
	info
	// serve serves until ctx is done. It calls s.listening when it listens.
	serve func(ctx context.Context, s *Serve) error
}

func (p *goPeer) Start(ctx context.Context, o Options) (*Server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	options, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	control := ""
	if o.Metrics || o.Free {
		if control, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	s, err := start(ctx, p.name, o, "", self, "serve", p.name, string(options), control)
	if err != nil {
		return nil, err
	}
	if o.Metrics {
		s.Counts = func(ctx context.Context) (c Counts, err error) {
			err = getJSON(ctx, "http://"+control+"/counts", &c)
			return c, err
		}
		s.State = func(ctx context.Context) (m State, err error) {
			err = getJSON(ctx, "http://"+control+"/state", &m)
			return m, err
		}
	}
	if o.Free {
		s.Free = func(ctx context.Context) error {
			_, err := get(ctx, "http://"+control+"/free")
			return err
		}
	}
	return s, nil
}

// Serve is the hidden command that runs a goPeer.
type Serve struct {
	Name    string `arg:""`
	JSON    string `arg:""` // the Options
	Control string `arg:""` // address where it tells the counters and its state, and gives memory back; empty: none

	Options `kong:"-"`
	config  *tls.Config // nil with PlainEcho
	counts  counters
	engine  atomic.Pointer[multibuffer.Engine] // that makes the key's signatures, if there is one
}

// counters is what a server counts of its clients.
type counters struct{ connections, closed, handshakes, resumed, requests atomic.Int64 }

// Run serves until ctx is done.
func (s *Serve) Run(ctx context.Context) error {
	p, ok := peers[s.Name].(*goPeer)
	if !ok {
		return fmt.Errorf("no server %q in Go", s.Name)
	}
	if err := json.Unmarshal([]byte(s.JSON), &s.Options); err != nil {
		return fmt.Errorf("options: %w", err)
	}
	if s.Protocol != PlainEcho {
		if err := s.configure(); err != nil {
			return err
		}
	}
	if s.Control != "" {
		at, err := net.Listen("tcp", s.Control)
		if err != nil {
			return fmt.Errorf("control: %w", err)
		}
		defer at.Close()
		go http.Serve(at, s.control())
	}
	err := p.serve(ctx, s)
	if ctx.Err() != nil { // told to end
		return nil
	}
	return err
}

// configure sets the configuration of all servers here. What is not set is
// crypto/tls's default.
func (s *Serve) configure() error {
	cert, err := tls.LoadX509KeyPair(s.Cert.File, s.Cert.File)
	if err != nil {
		return err
	}
	s.config = &tls.Config{
		Certificates:           []tls.Certificate{cert},
		MinVersion:             tls.VersionTLS12,
		NextProtos:             []string{"http/1.1"},
		SessionTicketsDisabled: !s.Tickets,
	}
	if s.Metrics {
		// It is called in each handshake, also when a session is resumed. Only the
		// client's last message is then missing, or the key exchange (TLS 1.2).
		s.config.VerifyConnection = func(state tls.ConnectionState) error {
			s.counts.handshakes.Add(1)
			if state.DidResume {
				s.counts.resumed.Add(1)
			}
			return nil
		}
	}
	return nil
}

// control is the handler that reports the counters and the state, and gives memory
// back.
func (s *Serve) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/counts", func(w http.ResponseWriter, _ *http.Request) {
		c := &s.counts
		json.NewEncoder(w).Encode(Counts{c.connections.Load(), c.handshakes.Load(), c.resumed.Load(), c.requests.Load()})
	})
	mux.HandleFunc("/state", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(s.state()) })
	mux.HandleFunc("/free", func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() })
	return mux
}

// listening says where the server listens: the line that start waits for.
func (s *Serve) listening(addr net.Addr) { fmt.Println("listening on", addr) }

// listen returns a listener for a server of package net that is closed when ctx
// is done, and says where it is.
func (s *Serve) listen(ctx context.Context) (net.Listener, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { ln.Close() })
	s.listening(ln.Addr())
	if s.Metrics {
		return countingListener{ln, &s.counts}, nil
	}
	return ln, nil
}

// countingListener counts its connections.
type countingListener struct {
	net.Listener
	counts *counters
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.counts.connections.Add(1)
	return &countedConn{Conn: c, counts: l.counts}, nil
}

// countedConn counts its end once: servers close a connection more than once.
type countedConn struct {
	net.Conn
	counts *counters
	closed atomic.Bool
}

func (c *countedConn) Close() error {
	err := c.Conn.Close()
	if !c.closed.Swap(true) {
		c.counts.closed.Add(1)
	}
	return err
}

// answerBody is as long as that of tlsdemo.
const answerBody = `GET /
body: 0 bytes
protocol: TLS 1.3
cipher suite: TLS_AES_128_GCM_SHA256
session resumed: false
loop: 0
job: 1
`
