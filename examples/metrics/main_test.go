package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/jobloop/jobloop/engine/multibuffer"
	"github.com/jobloop/jobloop/examples/internal/testcert"
	"github.com/jobloop/jobloop/internal/testkit"
)

// page is a scrape.
type page string

func scrape(t *testing.T, client *http.Client, url string) page {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	return page(b)
}

// sum adds up the series whose names and labels match, and counts them.
func (p page) sum(pattern string) (sum float64, series int) {
	for _, m := range regexp.MustCompile(`(?m)^`+pattern+` (\S+)$`).FindAllStringSubmatch(string(p), -1) {
		v, _ := strconv.ParseFloat(m[1], 64)
		sum += v
		series++
	}
	return sum, series
}

// want checks the sum of a number of series.
func (p page) want(t *testing.T, pattern string, series int, sum float64) {
	t.Helper()
	if got, n := p.sum(pattern); got != sum || n != series {
		t.Errorf("%s: %v in %d series, want %v in %d, in\n%s", pattern, got, n, sum, series, p)
	}
}

// What clients do is in the metrics. The server stops while one of them is connected.
func TestMetrics(t *testing.T) {
	new(fasthttp.Response).WriteTo(io.Discard) // starts a goroutine that stays
	testkit.CheckLeaks(t)
	certFile, keyFile, roots := testcert.RSA(t)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	type addrs struct{ server, metrics net.Addr }
	at := make(chan addrs, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, "127.0.0.1:0", "127.0.0.1:0", certFile, keyFile, 2, func(a, m net.Addr) { at <- addrs{a, m} })
	}()
	var addr addrs
	select {
	case addr = <-at:
	case err := <-ended:
		t.Fatal(err)
	}
	before := multibuffer.Shared().Stats()

	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
	client := &http.Client{Transport: tr}
	defer tr.CloseIdleConnections()
	for range 3 { // on one connection
		resp, err := client.Get("https://" + addr.server.String() + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != "hello\n" || err != nil {
			t.Fatalf("%q, %v", body, err)
		}
	}
	other, err := tls.Dial("tcp", addr.server.String(), &tls.Config{RootCAs: roots, ServerName: "localhost", MaxVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	plain := testkit.Dial(t, addr.server)
	fmt.Fprint(plain, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(plain), nil); err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Fatalf("HTTP without TLS: %v, %v", resp, err)
	}
	plain.Close()

	scraper := &http.Transport{DisableKeepAlives: true}
	url := "http://" + addr.metrics.String() + "/metrics"
	var got page
	testkit.Eventually(t, "the two connections over TLS are left, without a job", func() bool {
		got = scrape(t, &http.Client{Transport: scraper}, url)
		conns, _ := got.sum(`jobloop_connections\{loop="[01]"\}`)
		jobs, _ := got.sum(`jobloop_jobs_(paused|running)\{loop="[01]"\}`)
		return conns == 2 && jobs == 0
	})
	got.want(t, `example_greetings_total`, 1, 3)
	got.want(t, `jobloop_accepted_total\{loop="[01]"\}`, 2, 3)
	got.want(t, `jobloop_wait_seconds_count\{loop="[01]"\}`, 2, 3)
	got.want(t, `jobloop_handshakes_total\{result="full",version="1\.3"\}`, 1, 1)
	got.want(t, `jobloop_handshakes_total\{result="full",version="1\.2"\}`, 1, 1)
	got.want(t, `jobloop_handshakes_total\{result="error",version="none"\}`, 1, 1)
	got.want(t, `jobloop_handshake_seconds_count`, 1, 2)
	signatures := 0
	if err := multibuffer.Supported(); err != nil {
		t.Log("SKIPPED: ", err)
	} else {
		signatures = int(before.Operations) + 2
	}
	got.want(t, `jobloop_engine_operations_total\{engine="multibuffer",way="lanes"\}`, 1, float64(signatures))
	got.want(t, `jobloop_multibuffer_batch_size_sum`, 1, float64(signatures))
	if strings.Contains(string(got), "go_goroutines") {
		t.Error("the registry is not the program's own")
	}

	stop()
	if err := testkit.Receive(t, ended); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", addr.metrics.String()); err == nil {
		c.Close()
		t.Error("metrics are still served")
	}
}
