package chart

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"regexp"
	"strings"
	"unicode"
)

// In this file: turning what gonum writes into what this package returns.

// family has fonts with the same letter widths as the font with which text was
// measured.
const family = "Arial, Helvetica, 'Liberation Sans', sans-serif"

// finish returns the canvas as a document. The svg element gets the attribute place.
func finish(canvas io.WriterTo, c Config, summary, place string) ([]byte, error) {
	var raw bytes.Buffer
	if _, err := canvas.WriteTo(&raw); err != nil {
		return nil, fmt.Errorf("chart %q: %w", c.Title, err)
	}
	m := headPattern.FindSubmatchIndex(raw.Bytes())
	if m == nil {
		return nil, fmt.Errorf("chart %q: the drawing library wrote no svg element", c.Title)
	}
	width, height, body := raw.Bytes()[m[2]:m[3]], raw.Bytes()[m[4]:m[5]], raw.Bytes()[m[1]:]

	var out bytes.Buffer
	summary = html.EscapeString(summary)
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" class="chart" width="%s" height="%s" viewBox="0 0 %s %s" role="img" aria-label="%s" font-family="%s"%s>`,
		width, height, width, height, summary, family, place)
	fmt.Fprintf(&out, "\n%s%s%s<title>%s</title>\n", styleBegin, css, styleEnd, orWord(html.EscapeString(clean(c.Title)), summary))
	body = stylePattern.ReplaceAllFunc(body, restyle)
	out.Write(body)
	return out.Bytes(), nil
}

var (
	headPattern = regexp.MustCompile(`<svg width="[^"]*" height="[^"]*" viewBox="0 0 ([0-9.]+) ([0-9.]+)"[^>]*>\n`)
	// This cannot occur in text, where quotes are escaped.
	stylePattern = regexp.MustCompile(`\s+style="([^"]*)"`)
)

const (
	styleBegin = "<style>\n"
	styleEnd   = "</style>\n"
)

// Inline turns a chart into a part of an HTML page. It is as wide as the element
// around it, and is coloured by the page's style sheet, which must contain CSS.
func Inline(svg []byte) []byte {
	head, rest, ok := bytes.Cut(svg, []byte(styleBegin))
	if !ok {
		return svg
	}
	_, rest, _ = bytes.Cut(rest, []byte(styleEnd))
	head = sizePattern.ReplaceAll(head, []byte(` width="100%" `))
	return append(append([]byte(nil), head...), rest...)
}

var sizePattern = regexp.MustCompile(` width="[0-9.]+" height="[0-9.]+" `)

// restyle turns the style attribute of a drawn element into a class for its colour,
// and a style with the rest.
func restyle(attribute []byte) []byte {
	class, rest := "", make([]string, 0, 8)
	for d := range strings.SplitSeq(string(stylePattern.FindSubmatch(attribute)[1]), ";") {
		key, value, _ := strings.Cut(d, ":")
		if role, ok := roles[value]; ok {
			class, value = role, "currentColor"
		}
		if !strings.HasPrefix(key, "font-") || key == "font-size" { // the root element sets the font
			rest = append(rest, key+":"+value)
		}
	}
	return []byte(fmt.Sprintf(` class="%s" style="%s"`, class, strings.Join(rest, ";")))
}

// roles maps placeholder colours to classes.
var roles = func() map[string]string {
	m := make(map[string]string, len(themes))
	for i, t := range themes {
		m[ink(i).placeholder()] = "chart-" + t.name
	}
	return m
}()

// clean makes text fit for XML and for a single line, by replacing control
// characters with spaces.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == '\ufffe' || r == '\uffff' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
	return strings.TrimSpace(s)
}
