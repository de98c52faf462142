//go:build linux

package peer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jobloop/jobloop/benchmarks/internal/client"
	"github.com/jobloop/jobloop/benchmarks/internal/process"
	"github.com/jobloop/jobloop/benchmarks/internal/process/proctest"
)

// The test binary is also the servers in Go: those are started with a command,
// tests with flags.
func TestMain(m *testing.M) {
	code := proctest.Main(m, &struct {
		Serve Serve `cmd:""`
	}{})
	os.RemoveAll(tlsdemoDir)
	os.Exit(code)
}

// options are those of a server for a test, with a key of this kind.
func options(t *testing.T, key string) Options {
	t.Helper()
	dir := t.TempDir()
	k, err := NewKeys(dir, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := k.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Protocol: HTTPS, Cert: cert, CPU: process.AnyCPU, Dir: dir, Tlsdemo: tlsdemo(t), IdleTimeout: time.Minute}
}

var tlsdemoDir string

// buildTlsdemo builds the program, for the first test that asks.
var buildTlsdemo = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "peer-test-")
	if err != nil {
		return "", err
	}
	tlsdemoDir = dir
	return process.BuildTlsdemo(context.Background(), dir)
})

func tlsdemo(t *testing.T) string {
	t.Helper()
	program, err := buildTlsdemo()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// keyFor is a kind of key with which a peer runs here. A test of one that does not
// run with any is skipped.
func keyFor(t *testing.T, p Peer) string {
	t.Helper()
	if p.Runnable("ecdsa-p256") == nil {
		return "ecdsa-p256"
	}
	if err := p.Runnable("rsa2048"); err != nil {
		t.Skip(err)
	}
	return "rsa2048"
}

// ask makes requests over a connection, and reads their answers.
func ask(c net.Conn, times int) error {
	r := bufio.NewReader(c)
	for range times {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			return err
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		if resp.StatusCode != 200 || !strings.HasPrefix(string(b), "GET /") || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") || len(b) < len(answerBody)*3/4 || len(b) > len(answerBody)*5/4 {
			return fmt.Errorf("%s, %v, %q", resp.Status, resp.Header, b)
		}
	}
	return nil
}

// echo sends 100 kB, and compares what comes back.
func echo(c net.Conn) error {
	sent, got := make([]byte, 100_000), make([]byte, 100_000)
	rand.Read(sent)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		wrote <- err
	}()
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if err := <-wrote; err != nil {
		return err
	}
	if !bytes.Equal(sent, got) {
		return errors.New("the echo differs")
	}
	return nil
}

// dialTLS connects with a version of TLS and, if there are some, a session.
func dialTLS(t *testing.T, addr string, version uint16, sessions tls.ClientSessionCache) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", MinVersion: version, MaxVersion: version, ClientSessionCache: sessions})
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(client.IOTimeout))
	return c
}
