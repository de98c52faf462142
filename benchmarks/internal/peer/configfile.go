//go:build linux

package peer

import (
	"context"
	"embed"
	"os"
	"os/exec"
	"syscall"
	"text/template"

	"golang.org/x/sys/unix"
)

//go:embed *.tmpl
var configFiles embed.FS

var configs = template.Must(template.ParseFS(configFiles, "*.tmpl"))

// configured is a peer that is a program of the system and has a configuration
// file: nginx or HAProxy.
type configured struct {
	info
	program string
	args    []string       // before the name of the configuration file
	config  string         // the template of that file
	listen  string         // what it says of the listener
	goodbye syscall.Signal // tells it to finish its work and end
	// counts reads its counters, for the reads-th time.
	counts func(ctx context.Context, c *config, reads int64) (Counts, error)
}

// config is what the templates refer to.
type config struct {
	Options
	Addr        string // where its clients connect to
	Stats       string // where its counters are read
	Log         string
	Listen      string
	Answer      string // the body of its answers
	Descriptors uint64 // how many it may ask for
}

// installed says whether a program is there.
func installed(program string) func(string) error {
	return func(string) error {
		_, err := exec.LookPath(program)
		return err
	}
}

func (p *configured) Start(ctx context.Context, o Options) (*Server, error) {
	// What is named after the certificate is of this start alone.
	c := &config{Options: o, Log: o.Cert.File + ".log", Listen: p.listen, Answer: answerBody}
	var err error
	for _, addr := range []*string{&c.Addr, &c.Stats} {
		if *addr, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	if c.Descriptors, err = descriptorLimit(); err != nil {
		return nil, err
	}
	f, err := os.Create(o.Cert.File + ".conf")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := configs.ExecuteTemplate(f, p.config, c); err != nil {
		return nil, err
	}
	s, err := start(ctx, p.name, o, c.Addr, p.program, append(p.args, f.Name())...)
	if err != nil {
		return nil, err
	}
	s.goodbye = p.goodbye
	if o.Metrics {
		reads := int64(0)
		s.Counts = func(ctx context.Context) (Counts, error) {
			reads++
			return p.counts(ctx, c, reads)
		}
	}
	return s, nil
}

// descriptorLimit is how many descriptors nginx may ask for. The other servers
// raise their limit by themselves.
func descriptorLimit() (uint64, error) {
	var l unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
	return min(l.Max, 40000), os.NewSyscallError("getrlimit", err)
}
