package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// recorder holds what one loop measures. It belongs to the loop. Others may read it
// after the loop's last visit. Its counts are of the measured part if nothing else is
// said.
type recorder struct {
	latencies

	handshakes   int64 // that were due in the measured part and succeeded
	inTime       int64 // that ended in the measured part, whenever they were due
	errors       int64
	notBegun     int64
	full         bool  // all connections were in use when another was due
	offered      int64 // handshakes that offered a session to resume
	read         int64
	written      int64
	kinds        map[string]int64
	examples     map[string]string
	negotiated   map[negotiated]int64
	certificates map[*certificate]int64
	targets      []outcome
	aborted      aborted
	held         int64
	last         time.Time // end of the last handshake that succeeded

	total      Total
	allAborted aborted          // measured or not
	seen       map[string]int64 // errors of every kind, measured or not
}

// outcome is how visits to a target ended. A single target's latency is the run's.
type outcome struct {
	handshakes, errors int64
	latency            *hdrhistogram.Histogram // nil: none, or there is one target only
}

// latencyOf returns the latency of a target.
func (r *recorder) latencyOf(target int) *hdrhistogram.Histogram {
	if len(r.targets) == 1 {
		return r.latency
	}
	t := &r.targets[target]
	if t.latency == nil { // most runs have few targets
		t.latency = newHistogram(Digits)
	}
	return t.latency
}

// negotiated is what a handshake negotiated.
type negotiated struct {
	version, cipher, curve uint16
	alpn                   string
	resumed                bool
}

func newRecorder(targets int) *recorder {
	return &recorder{
		latencies: newLatencies(),
		kinds:     make(map[string]int64), examples: make(map[string]string),
		negotiated: make(map[negotiated]int64), certificates: make(map[*certificate]int64),
		targets: make([]outcome, targets), seen: make(map[string]int64),
	}
}

// success counts a measured handshake.
func (r *recorder) success(v *visit) {
	r.handshakes++
	record(r.latency, v.ended.Sub(v.due))
	record(r.delay, v.began.Sub(v.due))
	record(r.connect, v.connected.Sub(v.began))
	record(r.tls, v.shaken.Sub(v.connected))
	if !v.answered.IsZero() {
		record(r.firstByte, v.answered.Sub(v.shaken))
	}
	if v.offered {
		r.offered++
	}
	if v.ended.After(r.last) {
		r.last = v.ended
	}
	r.read += v.read
	r.written += v.written
	r.negotiated[v.agreed]++
	r.certificates[v.certificate]++
	r.targets[v.target.index].handshakes++
	if len(r.targets) > 1 {
		record(r.latencyOf(v.target.index), v.ended.Sub(v.due))
	}
}

// failure counts a measured handshake that failed.
func (r *recorder) failure(v *visit, kind string, err error) {
	r.fail(kind, err.Error(), 1)
	if v.gaveUp {
		record(r.gaveUp, v.ended.Sub(v.began))
	}
	r.read += v.read
	r.written += v.written
	r.targets[v.target.index].errors++
}

func (r *recorder) fail(kind, example string, n int64) {
	r.errors += n
	r.kinds[kind] += n
	if r.examples[kind] == "" {
		r.examples[kind] = example
	}
}

// merge adds what another loop measured.
func (r *recorder) merge(o *recorder) {
	r.latencies.merge(&o.latencies)
	r.handshakes += o.handshakes
	r.inTime += o.inTime
	r.errors += o.errors
	r.notBegun += o.notBegun
	r.full = r.full || o.full
	r.offered += o.offered
	r.read += o.read
	r.written += o.written
	addTo(r.kinds, o.kinds)
	addExamples(r.examples, o.examples)
	addTo(r.negotiated, o.negotiated)
	addTo(r.certificates, o.certificates)
	for i, t := range o.targets {
		r.targets[i].handshakes += t.handshakes
		r.targets[i].errors += t.errors
		if t.latency != nil {
			r.latencyOf(i).Merge(t.latency)
		}
	}
	if o.last.After(r.last) {
		r.last = o.last
	}
	r.aborted.add(&o.aborted)
	r.allAborted.add(&o.allAborted)
	r.held += o.held
	r.total.add(o.total)
	addTo(r.seen, o.seen)
}

// addTo adds counts to sums.
func addTo[K comparable](sums, counts map[K]int64) {
	for k, n := range counts {
		sums[k] += n
	}
}

// addExamples adds the examples of kinds that have none yet.
func addExamples(all, more map[string]string) {
	for kind, example := range more {
		if all[kind] == "" {
			all[kind] = example
		}
	}
}

func (t *Total) add(o Total) {
	t.Begun += o.Begun
	t.Handshakes += o.Handshakes
	t.Resumed += o.Resumed
	t.Requests += o.Requests
	t.Errors += o.Errors
	t.GaveUp += o.GaveUp
	t.Aborted = addPhases(t.Aborted, o.Aborted)
	t.Canceled += o.Canceled
	t.OldestCanceled = max(t.OldestCanceled, o.OldestCanceled)
	t.Probes += o.Probes
}
