package load

import "time"

// Result is what a run has measured, and what --json writes. Later versions may add
// keys, but never change one within a version of Schema. Times are in microseconds if the
// key ends in _us, and in seconds if it ends in _s.
//
// The top-level figures are of the measured part of the run, without the probes, the
// ramp and the warm-up. In a sweep, they are of its best step.
type Result struct {
	// Schema is the version of the format. Older results have none, which reads as 0.
	Schema int `json:"schema"`

	Handshakes    int64   `json:"handshakes"` // that succeeded, including the request if there was one
	Errors        int64   `json:"errors"`     // that failed
	HandshakesPer float64 `json:"handshakes_per_s"`
	Duration      float64 `json:"duration_s"`

	// Latency is the time from when a handshake was due (open loop) or begun
	// (closed loop) to its end. With a request, it ends with the answer.
	Latency Percentiles `json:"latency_us"`

	ErrorsByKind  map[string]int64  `json:"errors_by_kind"`
	ErrorExamples map[string]string `json:"error_examples,omitempty"` // message of the first of each kind

	Phases Phases `json:"phases_us"`

	// StartDelay is how late handshakes were begun, because there was no free
	// connection (--connections) or because this program's own thread was busy.
	// Latency includes it. Open loop only.
	StartDelay *Percentiles `json:"start_delay_us,omitempty"`

	// GaveUpAfter is how long the clients that gave up had waited since they began
	// to connect. They are among Errors. It is nil if no client gave up.
	GaveUpAfter *Percentiles `json:"gave_up_after_us,omitempty"`

	// Aborted is how many clients disconnected on purpose, by phase. They are neither
	// among Handshakes nor among Errors.
	Aborted map[string]int64 `json:"aborted,omitempty"`

	// Held is how many connections were held open after their end. The server ended
	// HeldEndedByServer of them before the client did, after the time HeldEndedAfter.
	Held              int64        `json:"held,omitempty"`
	HeldEndedByServer int64        `json:"held_ended_by_server,omitempty"`
	HeldEndedAfter    *Percentiles `json:"held_ended_after_us,omitempty"`

	// NotBegun is how many handshakes were due but never begun, because there was
	// no free connection until the end, or for longer than the client's patience.
	// They are among Errors. Open loop only.
	NotBegun int64 `json:"not_begun,omitempty"`

	BytesRead    int64 `json:"bytes_read"` // from sockets, in the measured part
	BytesWritten int64 `json:"bytes_written"`

	Negotiated   []Negotiated  `json:"negotiated"`
	Certificates []Certificate `json:"certificates"`
	Targets      []Target      `json:"targets"`
	MaxInFlight  int           `json:"max_in_flight"` // maximum number of connections at a time, in the measured part

	Distribution []Quantile `json:"latency_distribution"`
	Histograms   Histograms `json:"histograms,omitzero"` // older results have none
	Series       []Point    `json:"series"`              // the whole run in order, in at most 300 points
	Sweep        *Sweep     `json:"sweep,omitempty"`

	Client  Client `json:"client"`
	Total   Total  `json:"total"`
	Stopped string `json:"stopped,omitempty"` // why the run ended early: "interrupted", "out of descriptors"

	Warnings []string `json:"warnings,omitempty"`
	Unmet    []string `json:"unmet,omitempty"` // thresholds that the user has set, and that are not met

	Settings    Settings    `json:"settings"`
	Environment Environment `json:"environment"`
	Started     time.Time   `json:"started"`

	// MeasuredFrom is when the measured part began; the times of Series count from
	// it. Older results have none.
	MeasuredFrom time.Time `json:"measured_from,omitzero"`

	// Machines are the parts of a merged result, one for each run that was merged.
	Machines []Machine `json:"machines,omitempty"`
}

// Schema is the version of the format that Run makes.
const Schema = 2

// Machine is what one run contributed to a merged result.
type Machine struct {
	Name          string      `json:"name"` // of the file it came from
	Targets       []string    `json:"targets"`
	Started       time.Time   `json:"started"`
	MeasuredFrom  time.Time   `json:"measured_from"`
	Duration      float64     `json:"duration_s"`
	Handshakes    int64       `json:"handshakes"`
	Errors        int64       `json:"errors"`
	HandshakesPer float64     `json:"handshakes_per_s"`
	Latency       Percentiles `json:"latency_us"`
	Client        Client      `json:"client"`
	Stopped       string      `json:"stopped,omitempty"`
	Warnings      []string    `json:"warnings,omitempty"`
	Unmet         []string    `json:"unmet,omitempty"`
	Settings      Settings    `json:"settings"`
	Environment   Environment `json:"environment"`
}

// Percentiles summarizes a histogram. All are 0 if Count is 0.
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

// Phases are the parts of a connection. Each begins when the one before ends.
type Phases struct {
	Connect   Percentiles  `json:"connect"`              // the TCP connection
	TLS       Percentiles  `json:"tls"`                  // the handshake, up to the client's last message
	FirstByte *Percentiles `json:"first_byte,omitempty"` // from the end of the handshake to the first byte of the answer
}

// Negotiated counts the handshakes that negotiated the same parameters.
type Negotiated struct {
	Version    string `json:"version"`         // "TLS 1.3"
	Cipher     string `json:"cipher"`          // "TLS_AES_128_GCM_SHA256"
	Curve      string `json:"curve,omitempty"` // "X25519"; empty for an RSA key exchange and for a resumed session of TLS 1.2
	ALPN       string `json:"alpn,omitempty"`
	Resumed    bool   `json:"resumed"`
	Handshakes int64  `json:"handshakes"`
}

// Certificate counts the handshakes with a certificate: those in which the server sent
// it, and those that resumed a session that began with it.
type Certificate struct {
	SHA256     string `json:"sha256"` // of its DER form, in hexadecimal
	Subject    string `json:"subject"`
	Key        string `json:"key"` // "RSA 2048", "ECDSA P-256"
	Handshakes int64  `json:"handshakes"`
}

// Target is one address of a target.
type Target struct {
	Target     string      `json:"target"`  // as given
	Address    string      `json:"address"` // numeric, or unix: and the socket's name
	Handshakes int64       `json:"handshakes"`
	Errors     int64       `json:"errors"`
	Latency    Percentiles `json:"latency_us"` // older results have none

	Histogram Histogram `json:"histogram,omitempty"` // of latency
}

// Quantile is a point of the latency distribution.
type Quantile struct {
	Percentile float64 `json:"percentile"` // 0 to 100
	Latency    int64   `json:"latency_us"`
}

// Point is an interval of the run. A handshake counts in the interval in which its
// connection ended.
type Point struct {
	At         float64 `json:"at_s"` // when it begins, relative to the measured part: negative in the ramp and the warm-up
	Length     float64 `json:"length_s"`
	Handshakes int64   `json:"handshakes"`
	Errors     int64   `json:"errors"`
	P50        int64   `json:"p50_us"`
	P99        int64   `json:"p99_us"`
	Max        int64   `json:"max_us"`
	InFlight   int     `json:"in_flight"` // maximum of samples taken ten times a second

	Histogram Histogram `json:"histogram,omitempty"` // of latency
}

// Sweep is the result of raising the rate until the server no longer keeps up.
type Sweep struct {
	Steps []Step `json:"steps"` // in the order they were run
	// Knee is the highest rate that the server kept up with, per second; 0 if
	// there is none.
	Knee float64 `json:"knee_per_s"`
	// Limit says why the server did not keep up above the knee. It is empty if
	// the sweep ended first.
	Limit string `json:"limit,omitempty"`
}

// Step is a step of a sweep, with one rate.
type Step struct {
	Rate          float64          `json:"rate_per_s"` // that was asked for
	HandshakesPer float64          `json:"handshakes_per_s"`
	Handshakes    int64            `json:"handshakes"`
	Errors        int64            `json:"errors"`
	ErrorsByKind  map[string]int64 `json:"errors_by_kind"`
	Latency       Percentiles      `json:"latency_us"`
	Histogram     Histogram        `json:"histogram,omitempty"` // of latency
	ClientBusy    float64          `json:"client_busy"`         // as in Client
	KeptUp        bool             `json:"kept_up"`
	Why           string           `json:"why,omitempty"` // the server did not keep up
}

// Client is what this program itself used in the measured part.
type Client struct {
	CPU             float64 `json:"cpu_s"`
	CPUPerHandshake float64 `json:"cpu_us_per_handshake"`
	Busy            float64 `json:"busy"` // CPU time divided by wall time and number of threads (or cores, if fewer); from 0.9 on, the client may be the limit
	Loops           int     `json:"loops"`
	MaxRSS          int64   `json:"max_rss_bytes"` // since the process began
}

// Total counts all connections of the run, to compare with the server's own counters.
type Total struct {
	Begun      int64 `json:"begun"`
	Handshakes int64 `json:"handshakes"` // completed TLS handshakes, even if the request then failed
	Resumed    int64 `json:"resumed"`    // of Handshakes
	Requests   int64 `json:"requests"`   // answered requests
	Errors     int64 `json:"errors"`
	GaveUp     int64 `json:"gave_up,omitempty"` // of Errors: the client gave up
	Canceled   int64 `json:"canceled"`          // cut off when the run was stopped early

	// OldestCanceled is how long the oldest canceled connection had been due. If
	// the server had stopped answering before the run was stopped, this shows it.
	// No percentile does.
	OldestCanceled int64 `json:"canceled_max_age_us,omitempty"`

	// Aborted counts all clients that disconnected on purpose, by phase. Those after the
	// handshake, and after the request, are among Handshakes. Servers also count the
	// requests of the latter.
	Aborted map[string]int64 `json:"aborted,omitempty"`

	Probes int64 `json:"probes"` // of Begun, before the start: one to each address of a target and from each source
}

// Settings are the command and its flags, as text.
type Settings struct {
	Command string            `json:"command"`
	Flags   map[string]string `json:"flags"` // by name; those that affect the result, including defaults
}

// Environment describes where the client ran, and the client itself.
type Environment struct {
	OS    string `json:"os"`
	Arch  string `json:"arch"`
	Go    string `json:"go"`
	CPU   string `json:"cpu"`
	Cores int    `json:"cores"` // usable by this process
	Host  string `json:"host"`

	Kernel string `json:"kernel,omitempty"` // name and release; older results have none
	Server string `json:"server,omitempty"` // what the user says about the server's machine

	Commit  string `json:"commit,omitempty"`  // of this program
	Version string `json:"version,omitempty"` // of this program, as --version prints it; older results have none
}
