package load

import (
	"time"
)

// Result is what a run has measured, and what --json writes. Keys are only
// added in later versions, never changed. Times are in microseconds where the
// key ends in _us, in seconds where it ends in _s.
//
// The figures at the top are those of the measured part of the run: without
// the probes, the warm-up and the ramp. Of a sweep they are those of its best
// step.
type Result struct {
	Handshakes    int64   `json:"handshakes"` // that succeeded, with what was asked for after them
	Errors        int64   `json:"errors"`     // that failed
	HandshakesPer float64 `json:"handshakes_per_s"`
	Duration      float64 `json:"duration_s"`

	// Latency is from the moment a handshake was due (open loop) or begun
	// (closed loop) to its end; with a request, to the end of the answer.
	Latency Percentiles `json:"latency_us"`

	ErrorsByKind  map[string]int64  `json:"errors_by_kind"`
	ErrorExamples map[string]string `json:"error_examples,omitempty"` // the first of each kind, in words

	Phases Phases `json:"phases_us"`

	// StartDelay is how late handshakes were begun, which is part of Latency:
	// for want of a free connection (--connections), or because this
	// program's own thread was busy. Open loop only.
	StartDelay *Percentiles `json:"start_delay_us,omitempty"`

	// GaveUpAfter is how long the clients whose patience was up had waited, from
	// the moment they began to connect. They are among Errors. None if there
	// were no such clients.
	GaveUpAfter *Percentiles `json:"gave_up_after_us,omitempty"`

	// NotBegun is how many were due before the end and never begun, for want of
	// a free connection: until the end, or for longer than their patience. They
	// are among Errors. Open loop only.
	NotBegun int64 `json:"not_begun,omitempty"`

	BytesRead    int64 `json:"bytes_read"` // from sockets, in the measured part
	BytesWritten int64 `json:"bytes_written"`

	Negotiated   []Negotiated  `json:"negotiated"`
	Certificates []Certificate `json:"certificates"`
	Targets      []Target      `json:"targets"`
	MaxInFlight  int           `json:"max_in_flight"` // connections at a time, the most there were in the measured part

	Distribution []Quantile `json:"latency_distribution"`
	Series       []Point    `json:"series"` // the whole run, in order; at most 300 points
	Sweep        *Sweep     `json:"sweep,omitempty"`

	Client  Client `json:"client"`
	Total   Total  `json:"total"`
	Stopped string `json:"stopped,omitempty"` // why the run ended early: "interrupted", "out of descriptors"

	Warnings []string `json:"warnings,omitempty"`

	Settings    Settings    `json:"settings"`
	Environment Environment `json:"environment"`
	Started     time.Time   `json:"started"`
}

// Percentiles sums a histogram up. All are 0 if Count is.
type Percentiles struct {
	Count int64 `json:"count"`
	Min   int64 `json:"min"`
	P50   int64 `json:"p50"`
	P90   int64 `json:"p90"`
	P99   int64 `json:"p99"`
	P999  int64 `json:"p999"`
	Max   int64 `json:"max"`
	Mean  int64 `json:"mean"`
}

// Phases are the parts of a connection, each from the end of the one before.
type Phases struct {
	Connect   Percentiles  `json:"connect"`              // TCP, from the moment it was begun
	TLS       Percentiles  `json:"tls"`                  // the handshake, up to the client's last message
	FirstByte *Percentiles `json:"first_byte,omitempty"` // of the answer, from the request's first
}

// Negotiated says how many handshakes agreed on the same.
type Negotiated struct {
	Version    string `json:"version"`         // "TLS 1.3"
	Cipher     string `json:"cipher"`          // "TLS_AES_128_GCM_SHA256"
	Curve      string `json:"curve,omitempty"` // "X25519"; none with an RSA key exchange, nor with a session of TLS 1.2 resumed
	ALPN       string `json:"alpn,omitempty"`
	Resumed    bool   `json:"resumed"`
	Handshakes int64  `json:"handshakes"`
}

// Certificate says how many handshakes a certificate was shown in, or was that
// of the session they resumed.
type Certificate struct {
	SHA256     string `json:"sha256"` // of its DER form, in hexadecimal
	Subject    string `json:"subject"`
	Key        string `json:"key"` // "RSA 2048", "ECDSA P-256"
	Handshakes int64  `json:"handshakes"`
}

// Target is one of the addresses that were given.
type Target struct {
	Target     string `json:"target"`  // as given
	Address    string `json:"address"` // that was connected to
	Handshakes int64  `json:"handshakes"`
	Errors     int64  `json:"errors"`
}

// Quantile is a point of the latency distribution.
type Quantile struct {
	Percentile float64 `json:"percentile"` // 0 to 100
	Latency    int64   `json:"latency_us"`
}

// Point is an interval of the run. Handshakes count where their connection ended.
type Point struct {
	At         float64 `json:"at_s"` // its beginning, since that of the measured part: negative in the warm-up and the ramp
	Length     float64 `json:"length_s"`
	Handshakes int64   `json:"handshakes"`
	Errors     int64   `json:"errors"`
	P50        int64   `json:"p50_us"`
	P99        int64   `json:"p99_us"`
	Max        int64   `json:"max_us"`
	InFlight   int     `json:"in_flight"` // the most that was seen: it is looked at ten times a second
}

// Sweep is the result of raising the rate until the server broke.
type Sweep struct {
	Steps []Step `json:"steps"` // in the order they were run
	// Knee is the greatest rate that was kept up, per second; 0 if none was.
	Knee float64 `json:"knee_per_s"`
	// Limit says what broke above the knee; empty if the sweep ended first.
	Limit string `json:"limit,omitempty"`
}

// Step is one rate of a sweep.
type Step struct {
	Rate          float64          `json:"rate_per_s"` // that was asked for
	HandshakesPer float64          `json:"handshakes_per_s"`
	Handshakes    int64            `json:"handshakes"`
	Errors        int64            `json:"errors"`
	ErrorsByKind  map[string]int64 `json:"errors_by_kind"`
	Latency       Percentiles      `json:"latency_us"`
	ClientBusy    float64          `json:"client_busy"` // as in Client
	KeptUp        bool             `json:"kept_up"`
	Why           string           `json:"why,omitempty"` // not
}

// Client is what this program itself needed, in the measured part.
type Client struct {
	CPU             float64 `json:"cpu_s"`
	CPUPerHandshake float64 `json:"cpu_us_per_handshake"`
	Busy            float64 `json:"busy"` // CPU time by wall time and threads (loops, or cores if there are fewer): from about 0.9 on the client may be the limit
	Loops           int     `json:"loops"`
	MaxRSS          int64   `json:"max_rss_bytes"` // since the process began
}

// Total counts every connection of the run, for comparison with a server's own
// counters.
type Total struct {
	Begun      int64 `json:"begun"`
	Handshakes int64 `json:"handshakes"` // TLS handshakes that were completed, whatever came after
	Resumed    int64 `json:"resumed"`    // of these
	Requests   int64 `json:"requests"`   // that were answered
	Errors     int64 `json:"errors"`
	GaveUp     int64 `json:"gave_up,omitempty"` // of these errors: the client's patience was up
	Canceled   int64 `json:"canceled"`          // cut off when the run was stopped early

	// OldestCanceled is how long the oldest of these had been due: a server that
	// stood still when the run was stopped shows here, and in no percentile.
	OldestCanceled int64 `json:"canceled_max_age_us,omitempty"`

	Probes int64 `json:"probes"` // of these, before the start: one to each target, and from each source
}

// Settings are what was asked for, as text: flags by name.
type Settings struct {
	Command string            `json:"command"`
	Flags   map[string]string `json:"flags"` // those that matter to the result, defaults too
}

// Environment is where the client ran.
type Environment struct {
	OS    string `json:"os"`
	Arch  string `json:"arch"`
	Go    string `json:"go"`
	CPU   string `json:"cpu"`
	Cores int    `json:"cores"` // usable by this process
	Host  string `json:"host"`

	Commit  string `json:"commit,omitempty"`  // of this program
	Version string `json:"version,omitempty"` // of this program, as --version prints it; older results have none
}
