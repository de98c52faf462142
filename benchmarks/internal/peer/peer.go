//go:build linux

// Package peer has the servers that are measured beside each other, a file each.
// To add one, write a file that registers it.
//
//   - peer.go is what a peer is
//   - server.go starts one as a process, and stops it
//   - goserver.go is the process of the peers that are written here, in Go
//   - configfile.go starts those that have a configuration file
//   - certificate.go makes their certificates
//   - servercounts.go reads what they count
//   - serverstate.go is what they hold, for those that tell
//   - install.go fetches those that are programs of the system
package peer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/jobloop/jobloop/engine/multibuffer"
)

// Peer is a server that is measured beside others.
type Peer interface {
	// Name is its name on the command line and in the tables.
	Name() string

	// Ours says whether it is this project's. Tables divide the figures of such
	// servers by those of the others.
	Ours() bool

	// Speaks lists the protocols it can serve. Options.Protocol chooses one.
	Speaks() []Protocol

	// Runnable returns nil if it can run on this machine with a key of this kind.
	// Otherwise the error says why not.
	Runnable(key string) error

	// Start starts it.
	Start(context.Context, Options) (*Server, error)
}

// Protocol is what a server does with what it receives.
type Protocol string

const (
	HTTPS     Protocol = "https"      // it answers every request with a few lines, over TLS
	TLSEcho   Protocol = "tls-echo"   // it echoes, over TLS
	PlainEcho Protocol = "plain-echo" // it echoes, without TLS
	GRPC      Protocol = "grpc"       // it has gRPC's health service, over TLS
)

// ALPN is the application protocol that clients offer and the server must choose.
// If it is "", they offer none.
func (p Protocol) ALPN() string {
	if p == GRPC {
		return "h2"
	}
	return ""
}

// Options are the same for all peers. With fills in defaults where they are 0.
type Options struct {
	Protocol         Protocol
	Cert             *Certificate
	CPU              int           // the core to run on; negative: any
	Dir              string        // for its files
	Tlsdemo          string        // the program, for those that run tlsdemo; empty: this checkout's
	IdleTimeout      time.Duration // of a connection between requests, not 0; the handlers on gnet do not watch it
	HandshakeTimeout time.Duration // of a handshake, and of a request; 0: DefaultTimeout
	Threads          int           // that serve; 0: 1
	Workers          int           // more threads of Go, for those that compute on workers
	Buffer           int           // bytes for each connection of a goroutine that echoes; 0: 4096
	Tickets          bool          // sessions can be resumed with tickets
	Metrics          bool          // its counters can be read
	Free             bool          // it should offer Server.Free, if it can
}

// DefaultTimeout is the default of Options.HandshakeTimeout.
const DefaultTimeout = 10 * time.Second

// info implements all of Peer except Start.
type info struct {
	name     string
	ours     bool
	speaks   []Protocol
	runnable func(key string) error // nil: it runs everywhere
}

func (i *info) Name() string       { return i.name }
func (i *info) Ours() bool         { return i.ours }
func (i *info) Speaks() []Protocol { return i.speaks }

func (i *info) Runnable(key string) error {
	if i.runnable == nil {
		return nil
	}
	return i.runnable(key)
}

// Speak returns the first of the wanted protocols that the peer can serve, or ""
// if it can serve none.
func Speak(p Peer, wanted ...Protocol) Protocol {
	for _, w := range wanted {
		if slices.Contains(p.Speaks(), w) {
			return w
		}
	}
	return ""
}

// peers are all of them, by name.
var peers = make(map[string]Peer)

// register is called by the file of each peer.
func register(p Peer) {
	if peers[p.Name()] != nil {
		panic("two peers " + p.Name())
	}
	peers[p.Name()] = p
}

// Names returns the sorted names of the peers that can serve one of these
// protocols.
func Names(protocols ...Protocol) (names []string) {
	for name, p := range peers {
		if Speak(p, protocols...) != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Runnable returns those of the named peers that can run here with a key of this
// kind. For each of the others, a note says why it cannot.
func Runnable(names []string, key string) (can []Peer, notes []string) {
	for _, name := range names {
		p := peers[name]
		err := errors.New("there is no such peer")
		if p != nil {
			err = p.Runnable(key)
		}
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s: SKIPPED: %v.", name, err))
			continue
		}
		can = append(can, p)
	}
	return can, notes
}

// Ours says whether the peer of this name is this project's.
func Ours(name string) bool { return peers[name] != nil && peers[name].Ours() }

// moduleVersion is the version of a library that is measured.
func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == path {
				return d.Version
			}
		}
	}
	return "unknown"
}

// multibufferRuns says whether the multi-buffer engine can sign with such a key.
func multibufferRuns(key string) error {
	if err := multibuffer.Supported(); err != nil {
		return err
	}
	if !strings.HasPrefix(key, "rsa") {
		return errors.New("its engine is for RSA keys")
	}
	return nil
}
