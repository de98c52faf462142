package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// writeCertificate writes a new certificate and its key to files.
func writeCertificate(t *testing.T, dir string) (certFile, keyFile string) {
	t.Helper()
	return writeCertificateOf(t, dir, "ecdsa-p256")
}

func writeCertificateOf(t *testing.T, dir string, kind keyKind) (certFile, keyFile string) {
	t.Helper()
	cert, err := newCertificate(kind)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		keyFile:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// serial returns the serial number of the server's certificate.
func (s *served) serial() string {
	s.t.Helper()
	c := s.dial()
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func TestReload(t *testing.T) {
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir)
	s := serve(t, "--cert", cert, "--keyfile", key)
	first := s.serial()

	writeCertificate(t, dir)
	s.signal(syscall.SIGHUP)
	if got := s.line(); got != "reloaded certificate "+cert+"; engine: none (ECDSA key)\n" {
		t.Fatalf("after SIGHUP: %q", got)
	}
	second := s.serial()
	if first == second {
		t.Error("the certificate is still the first")
	}

	other, _ := writeCertificate(t, t.TempDir())
	if err := os.Rename(other, cert); err != nil { // now certificate and key do not match
		t.Fatal(err)
	}
	s.signal(syscall.SIGHUP)
	if got := s.complaint(); !strings.Contains(got, cert) || !strings.Contains(got, "still using the old certificate") {
		t.Errorf("after SIGHUP with a bad pair: %q", got)
	}
	if s.serial() != second {
		t.Error("a bad pair has replaced the certificate")
	}
	s.stop()
}

func TestReloadInMemory(t *testing.T) {
	s := serve(t, "--key", "ed25519")
	first := s.serial()
	s.signal(syscall.SIGHUP)
	if got := s.complaint(); !strings.Contains(got, "nothing to reload") {
		t.Errorf("after SIGHUP: %q", got)
	}
	if s.serial() != first {
		t.Error("the certificate has changed")
	}
	s.stop()
}

// A session that began on one loop is resumed on another.
func TestResumptionAcrossLoops(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := serve(t, "--key", "ecdsa-p256", "--loops", "2")
		config := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1), MaxVersion: version}
		visit := func() (resumed bool, loop string) {
			c, err := tls.Dial("tcp", s.addr, config)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			resumed = c.ConnectionState().DidResume
			if want := fmt.Sprintf("session resumed: %v\n", resumed); !strings.Contains(string(body), want) {
				t.Fatalf("no %q in %q", want, body)
			}
			_, loop, _ = strings.Cut(string(body), "loop: ")
			return resumed, loop[:1]
		}
		if resumed, _ := visit(); resumed {
			t.Error("the first connection has resumed a session")
		}
		// The kernel chooses the loop by the port, which is as good as random.
		loops := make(map[string]bool)
		for range 200 {
			resumed, loop := visit()
			if !resumed {
				t.Fatalf("%s: not resumed on loop %s", tls.VersionName(version), loop)
			}
			if loops[loop] = true; len(loops) == 2 {
				break
			}
		}
		if len(loops) != 2 && runtime.GOOS == "linux" {
			t.Errorf("%s: only one loop has served: %v", tls.VersionName(version), loops)
		}
		s.stop()
	}
}

func TestTLSMin(t *testing.T) {
	s := serve(t, "--key", "ecdsa-p256", "--tls-min", "1.3")
	if c, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
		c.Close()
		t.Error("TLS 1.2 was accepted")
	}
	s.serial()
	s.stop()
}

func TestHandshakeTimeout(t *testing.T) {
	s := serve(t, "--key", "ed25519", "--handshake-timeout", "100ms")
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.ReadAll(c); err != nil { // an alert may come or not
		t.Error(err)
	}
	s.stop()
}

func TestStop(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		s := serve(t, "--key", "ecdsa-p256")
		// One connection is idle, one has half a request.
		_, _, idle := ask(t, s, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET")
		half := s.dial()
		io.WriteString(half, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
		br := bufio.NewReader(half)
		br.ReadString('\n') // 100 Continue: the request is being read
		br.ReadString('\n')
		s.signal(sig)
		s.line() // "stopping: …"
		wantEOF(t, "idle connection", idle)
		io.WriteString(half, "abc")
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("the request in progress got no answer: %v", err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || !resp.Close || !strings.Contains(string(body), "body: 3 bytes") {
			t.Errorf("close %v, body %q, %v", resp.Close, body, err)
		}
		wantEOF(t, "connection in use", br)
		if status, errs := s.wait(); status != 0 || errs != "" {
			t.Errorf("%v: exit status %d, stderr: %s", sig, status, errs)
		}
	}
}

// stuck returns a server that was told to stop but cannot, because a request does not
// end.
func stuck(t *testing.T, args ...string) *served {
	s := serve(t, append(args, "--key", "ecdsa-p256", "--request-timeout", "1h")...)
	c := s.dial()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
	bufio.NewReader(c).ReadString('\n')
	s.signal(syscall.SIGTERM)
	s.line()
	return s
}

func TestDrainTimeout(t *testing.T) {
	s := stuck(t, "--drain-timeout", "100ms")
	if status, errs := s.wait(); status != 1 || !strings.Contains(errs, "100ms") {
		t.Errorf("exit status %d, stderr: %s", status, errs)
	}
}

func TestSecondSignal(t *testing.T) {
	s := stuck(t, "--drain-timeout", "1h")
	s.signal(os.Interrupt)
	if status, errs := s.wait(); status != 1 || !strings.Contains(errs, "second signal") {
		t.Errorf("exit status %d, stderr: %s", status, errs)
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	s := start(t, program(t, "serve", "--key", "ecdsa-p256", "--loops", "2", "--addr", "unix:"+path))
	if got := s.line(); !strings.HasPrefix(got, "serving unix:"+path+" ") {
		t.Fatalf("%q", got)
	}
	checkAnswer(t, "unix", path)
	s.stop()
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket file is still there")
	}
}

// A server that was killed is no obstacle to the next one. One that runs is.
func TestUnixSocketAfterKill(t *testing.T) {
	for _, mode := range []string{"--loops=2", "--goroutines"} {
		path := filepath.Join(t.TempDir(), "socket")
		args := []string{"serve", "--key", "ecdsa-p256", mode, "--addr", "unix:" + path}
		killed := start(t, program(t, args...))
		killed.line()
		status, _, errs := output(t, args...)
		if status != 1 || !strings.Contains(errs, path) || !strings.Contains(errs, "another server is there") {
			t.Errorf("%s: beside another server: exit status %d, stderr: %s", mode, status, errs)
		}
		checkAnswer(t, "unix", path)
		killed.signal(syscall.SIGKILL)
		killed.wait()
		if _, err := os.Lstat(path); err != nil {
			t.Fatal(err)
		}
		s := start(t, program(t, args...))
		if got := s.line(); !strings.HasPrefix(got, "serving unix:"+path+" ") {
			t.Fatalf("%s: %q", mode, got)
		}
		checkAnswer(t, "unix", path)
		s.stop()
		if left, err := os.ReadDir(filepath.Dir(path)); len(left) > 0 || err != nil {
			t.Errorf("%s: left are %v, %v", mode, left, err)
		}
	}
}

// checkAnswer makes a request.
func checkAnswer(t *testing.T, network, address string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://localhost/hello")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || !strings.HasPrefix(string(body), "GET /hello\n") {
		t.Errorf("%q, %v", body, err)
	}
}

func TestSocketActivation(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	defer f.Close()
	p := program(t, "serve", "--key", "ecdsa-p256")
	cmd := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"`}, p.Args...)...)
	cmd.Env, cmd.ExtraFiles = p.Env, []*os.File{f}
	s := start(t, cmd)
	if got := s.line(); !strings.HasPrefix(got, "serving https://"+ln.Addr().String()+" ") {
		t.Fatalf("%q", got)
	}
	checkAnswer(t, "tcp", ln.Addr().String())
	s.stop()
}
