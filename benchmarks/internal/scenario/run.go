//go:build linux

package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/peer"
	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/benchmarks/internal/report"
	"github.com/jobloop/jobloop/internal/load"
)

// run is what a scenario finds prepared: its report, a directory for its files,
// and the means to start servers and clients.
type run struct {
	*Options
	*report.Report
	dir    string
	client client.Load
	keys   map[string]*peer.Keys
	same   map[client.Kind]*client.Agreement
}

// peers returns those of the named servers that can run here with a key of this
// kind. For each of the others, it notes why not. If none can, that is an error.
func (r *run) peers(names []string, key string) ([]peer.Peer, error) {
	can, skipped := peer.Runnable(names, key)
	for _, s := range skipped {
		r.noteOnce(key + ", " + s)
	}
	if len(can) == 0 {
		return nil, fmt.Errorf("nothing to measure: %s", strings.Join(skipped, " "))
	}
	if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "gnet") }) {
		r.noteOnce("gnet " + peer.GnetVersion() + ".")
	}
	if slices.ContainsFunc(can, func(p peer.Peer) bool { return peer.Speak(p, peer.GRPC) != "" }) {
		r.noteOnce("gRPC's servers (grpc-go " + peer.GRPCVersion() + ") are measured with handshakes without a request: their clients speak HTTP/2. Their latency ends with the client's part of the handshake. The client closes these connections and does not reset them.")
	}
	return can, nil
}

// noteOnce adds a note, if it is not there yet.
func (r *run) noteOnce(note string) {
	if !slices.Contains(r.Notes, note) {
		r.Note(note)
	}
}

// with starts a server for f, with a key of this kind and a certificate of its own,
// and stops it afterwards. The server runs on the servers' core, unless more than
// one of its threads serves.
func (r *run) with(ctx context.Context, p peer.Peer, key string, o peer.Options, f func(*peer.Server) error) error {
	keys, err := r.keysOf(key)
	if err != nil {
		return err
	}
	if o.Cert, err = keys.Certificate(); err != nil {
		return err
	}
	if o.Protocol == "" {
		o.Protocol = peer.Speak(p, peer.HTTPS, peer.GRPC)
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = time.Minute
	}
	if o.CPU = r.ServerCPU; o.Threads > 1 {
		o.CPU = process.AnyCPU
	}
	o.Dir, o.Tlsdemo = r.dir, r.Tlsdemo
	return peer.With(ctx, p, o, f)
}

// keysOf returns the key of this kind that all servers of the run have.
func (r *run) keysOf(kind string) (*peer.Keys, error) {
	if r.keys[kind] == nil {
		k, err := peer.NewKeys(r.dir, kind)
		if err != nil {
			return nil, err
		}
		r.keys[kind] = k
	}
	return r.keys[kind], nil
}

// check returns an error if a load was not what it should have been. See
// client.Agreement.
func (r *run) check(s *peer.Server, kind client.Kind, res *load.Result) error {
	if r.same[kind] == nil {
		r.same[kind] = new(client.Agreement)
	}
	return r.same[kind].Check(s.Name, kind, s.Protocol.ALPN(), res, s.Cert.SHA256)
}

// visitArgs are the arguments of "tlsdemo load" that say what it offers a server of
// this protocol, and what follows a handshake: a request, if there is to be one, and
// a reset, so that the local ports last.
//
// "tlsdemo load" speaks HTTP/1.1 only, so a gRPC server gets no request. Its
// connections are not reset either: no answer has shown that the server has finished
// the handshake, and a reset could overtake the client's last message.
func visitArgs(p peer.Protocol, request bool) []string {
	switch {
	case p == peer.GRPC:
		return []string{"--alpn", p.ALPN(), "--no-reset"}
	case request:
		return []string{"--request", "/", "--reset"}
	}
	return []string{"--reset"}
}

// cpuDuring returns the CPU time that a server and its workers use while f runs.
func cpuDuring(s *peer.Server, f func() error) (time.Duration, error) {
	before, err := process.FamilyCPU(s.PID())
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := process.FamilyCPU(s.PID())
	return after - before, err
}

// watched loads a server with handshakes of one kind, and checks whom the client
// has reached and how.
func (r *run) watched(ctx context.Context, s *peer.Server, kind client.Kind, args ...string) (*client.Loaded, error) {
	loaded, err := r.client.RunWatched(ctx, s.Watch(), slices.Concat(kind.Args(), args, []string{s.Addr})...)
	if err != nil {
		return nil, err
	}
	return loaded, r.check(s, kind, loaded.Load)
}
