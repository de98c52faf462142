package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/examples/internal/testcert"
	"github.com/jobloop/jobloop/internal/testkit"
)

// asProgram is the environment variable that makes the test binary run as the program.
const asProgram = "LISTENER_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	m.Run()
}

// SIGTERM ends the program, with status 0.
func TestSIGTERM(t *testing.T) {
	certFile, keyFile, roots := testcert.RSA(t)
	cmd := exec.Command(os.Args[0], "-addr", "127.0.0.1:0", "-cert", certFile, "-key", keyFile)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	br := bufio.NewReader(stderr)
	addr := ""
	for addr == "" {
		line, err := br.ReadString('\n')
		if err != nil {
			t.Fatalf("%q, %v: no address", line, err)
		}
		addr = regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
	resp, err := (&http.Client{Transport: tr}).Get("https://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, br)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// start runs the server. stop ends it, and ended has what run returns.
func start(t *testing.T) (addr, certFile string, roots *x509.CertPool, stop func(), ended chan error) {
	t.Helper()
	testkit.CheckLeaks(t)
	certFile, keyFile, roots := testcert.RSA(t)
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	at := make(chan net.Addr, 1)
	ended = make(chan error, 1)
	go func() { ended <- run(ctx, "127.0.0.1:0", certFile, keyFile, func(a net.Addr) { at <- a }) }()
	select {
	case a := <-at:
		addr = a.String()
	case err := <-ended:
		t.Fatal(err)
	}
	return addr, certFile, roots, stop, ended
}

// The server answers over HTTP/1.1 and HTTP/2, its signatures are gathered where
// that can be done, and it stops cleanly.
func TestServer(t *testing.T) {
	addr, certFile, roots, stop, ended := start(t)
	before := multibuffer.Shared().Stats()
	for _, http2 := range []bool{false, true} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}, ForceAttemptHTTP2: http2}
		resp, err := (&http.Client{Transport: tr}).Get("https://" + addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		tr.CloseIdleConnections()
		if err != nil || strings.Contains(string(body), "HTTP/2.0") != http2 {
			t.Errorf("%q, %v", body, err)
		}
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Log("SKIPPED: curl is not installed")
	} else {
		_, port, _ := net.SplitHostPort(addr)
		for version, proto := range map[string]string{"--http1.1": "HTTP/1.1", "--http2": "HTTP/2.0"} {
			out, err := exec.Command("curl", "-sS", "--noproxy", "*", version, "--cacert", certFile, "--resolve", "localhost:"+port+":127.0.0.1", "https://localhost:"+port+"/").CombinedOutput()
			if err != nil || string(out) != "hello over "+proto+"\n" {
				t.Errorf("curl %s: %v %q", version, err, out)
			}
		}
	}
	if err := multibuffer.Supported(); err != nil {
		t.Log("SKIPPED: ", err)
	} else if s := multibuffer.Shared().Stats(); s.Operations < before.Operations+2 || s.Unbound != 0 {
		t.Errorf("%+v, want the handshakes' signatures, all of them bound to their jobs", s)
	}
	stop()
	if err := testkit.Receive(t, ended); err != nil {
		t.Error(err)
	}
}

// A request that is being served when the server is told to stop is answered. Nobody
// else can connect any more.
func TestStop(t *testing.T) {
	addr, _, roots, stop, ended := start(t)
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	testkit.WantRead(t, c, "HTTP/1.1 100 Continue\r\n\r\n") // the handler reads
	stop()
	testkit.Eventually(t, "the server refuses connections", func() bool {
		other, err := net.Dial("tcp", addr)
		if err == nil {
			other.Close()
		}
		return err != nil
	})
	fmt.Fprint(c, "hello")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if string(body) != "5 bytes\n" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
	if err := testkit.Receive(t, ended); err != nil {
		t.Error(err)
	}
}
