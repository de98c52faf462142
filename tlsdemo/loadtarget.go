package main

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// This file reads the targets of "tlsdemo load".

// parseTarget returns a target as HOST:PORT with a number, or as unix:PATH. Besides these
// forms it takes HOST (port 443), HOST:SERVICE, and https://HOST and https://HOST:PORT. An
// error shows the form that was perhaps meant.
func parseTarget(text string) (string, error) {
	if strings.HasPrefix(text, "unix:") {
		return text, nil // package load says whether it makes sense
	}
	address := text
	if scheme, rest, isURL := strings.Cut(text, "://"); isURL {
		var err error
		if address, err = urlTarget(text, scheme, rest); err != nil {
			return "", err
		}
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		if forms := bracketed(address); forms != "" {
			return "", fmt.Errorf("target %q: an IPv6 address needs brackets: %s", text, forms)
		}
		host, port = address, "443"
		if inner := strings.Trim(address, "[]"); "["+inner+"]" == address && is6(inner) {
			host = inner
		} else if strings.ContainsAny(address, ":[]") {
			return "", fmt.Errorf("target %q is not HOST:PORT", text)
		}
	}
	if host == "" {
		return "", fmt.Errorf("target %q has no host", text)
	}
	if port == "" {
		return "", fmt.Errorf("target %q has no port after the colon: %s means port 443", text, strings.TrimSuffix(address, ":"))
	}
	number, err := net.LookupPort("tcp", port)
	if err != nil || number == 0 {
		return "", fmt.Errorf("target %q: %q is not a port: it is a number from 1 to 65535, or a name such as https", text, port)
	}
	return net.JoinHostPort(host, strconv.Itoa(number)), nil
}

// urlTarget returns what a URL has of a target.
func urlTarget(text, scheme, rest string) (address string, err error) {
	if !strings.EqualFold(scheme, "https") {
		return "", fmt.Errorf("target %q: only https:// can be loaded", text)
	}
	address, path := rest, "/"
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		address, path = rest[:end], rest[end:]
	}
	switch {
	case strings.Contains(address, "@"):
		return "", fmt.Errorf("target %q has a user name, which is not sent: leave it out", text)
	case path[0] != '/':
		path = "/" + path
	case path == "/":
		return address, nil
	}
	return "", fmt.Errorf("target %q has a path: use %s --request %s", text, address, shellQuoted([]string{path}))
}

// bracketed returns the targets that an IPv6 address without brackets may stand for; "" if
// it is none.
func bracketed(address string) string {
	var forms []string
	if i := strings.LastIndexByte(address, ':'); i > 0 && is6(address[:i]) {
		if _, err := strconv.ParseUint(address[i+1:], 10, 16); err == nil {
			forms = append(forms, fmt.Sprintf("[%s]:%s", address[:i], address[i+1:]))
		}
	}
	if is6(address) {
		forms = append(forms, fmt.Sprintf("[%s]:443", address))
	}
	return strings.Join(forms, " or ")
}

func is6(text string) bool {
	ip, err := netip.ParseAddr(text)
	return err == nil && ip.Is6()
}
