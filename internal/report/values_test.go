package report

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The script finds the values of every line: each chart's sources name a table of the
// page whose rows have a place and that column. Its rows are in order.
func TestChartsCanBePointedAt(t *testing.T) {
	all := pages(t)
	all["merged"] = pageOf(t, Run{"merged", merged()})
	for name, page := range all {
		columns, places := make(map[string]int), make(map[string][]float64) // by table
		table, figures := "", 0
		var sources []source
		walk(t, page, func(e xml.StartElement) {
			attributes := make(map[string]string)
			for _, a := range e.Attr {
				attributes[a.Name.Local] = a.Value
			}
			switch e.Name.Local {
			case "table":
				table = attributes["id"]
			case "th":
				if attributes["scope"] == "col" {
					columns[table]++
				}
			case "tr":
				if at, ok := attributes["data-x"]; ok {
					x, err := strconv.ParseFloat(at, 64)
					if p := places[table]; err != nil || len(p) > 0 && x < p[len(p)-1] {
						t.Errorf("%s: %s has a row at %q after %v", name, table, at, p)
					}
					places[table] = append(places[table], x)
				}
			case "figure":
				figures++
				var of []source
				if err := json.Unmarshal([]byte(attributes["data-series"]), &of); err != nil {
					t.Errorf("%s: sources %q: %v", name, attributes["data-series"], err)
				}
				sources = append(sources, of...)
			}
		})
		if len(sources) < figures {
			t.Errorf("%s: %d sources for %d charts", name, len(sources), figures)
		}
		for _, s := range sources {
			if s.Column >= columns[s.Table] && len(places[s.Table]) > 0 {
				t.Errorf("%s: %q is in column %d of %s, which has %d", name, s.Name, s.Column, s.Table, columns[s.Table])
			}
		}
		if name != "empty" && name != "zero" && len(places["run-1"+idTime]) == 0 {
			t.Errorf("%s: no values over time", name)
		}
	}
}

// A comparison shows only the measured parts of sweeps. Its 0 is elsewhere than that of
// the sweep's own page.
func TestSourcesOfComparedSweep(t *testing.T) {
	p := overlays([]Run{{"a", result(400, 3000)}, {"b", swept()}})[0]
	if got := fmt.Sprint(p.sources[0].Offset, p.sources[1].Offset); got != "0 25" {
		t.Errorf("offsets %s, want 0 and 25: the sweep had run for 25 s", got)
	}
}

// A chart is drawn for wide and for narrow places, so that its type is never scaled down
// much. A phone of 390 pixels gives a chart 300 at least, even in details.
func TestTypeIsNotScaledDown(t *testing.T) {
	page := pageOf(t, Run{"a", result(400, 3000)}, Run{"b", swept()})
	wide := len(regexp.MustCompile(`<div class="wide"><svg [^>]*viewBox="0 0 460 `).FindAllString(page, -1))
	narrow := len(regexp.MustCompile(`<div class="narrow"><svg [^>]*viewBox="0 0 320 `).FindAllString(page, -1))
	if figures := strings.Count(page, "<figure"); wide != figures || narrow != figures {
		t.Errorf("%d charts, %d wide and %d narrow drawings", figures, wide, narrow)
	}
	if wideWidth-45 != 415 || !strings.Contains(styleText, "@container (max-width: 415px)") {
		t.Error("the place in which the wide chart appears does not fit its size")
	}
}

// Words in tables stay whole, unless they are very long. Those have room.
func TestWordsStayWhole(t *testing.T) {
	for text, want := range map[string]string{
		"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256":        "text",
		strings.Repeat("a", maxWord):                   "text",
		strings.Repeat("a", maxWord+1):                 "long",
		"RSA 2048":                                     "short",
		"a message of several words, such as an error": "text",
		"Example CPU @ 2.00 GHz":                       "text",
	} {
		if got := (cell{Text: text}).Classes(); got != want {
			t.Errorf("%q: class %q, want %q", text, got, want)
		}
	}
	// Only whole blocks and very long words may break anywhere.
	for _, rule := range regexp.MustCompile(`(?m)^\s*([^{}\n]*)\{[^}]*overflow-wrap: anywhere`).FindAllStringSubmatch(styleText, -1) {
		for _, selector := range strings.Split(rule[1], ",") {
			switch strings.TrimSpace(selector) {
			case "td", "th", "tbody th", "thead th", "th a":
				t.Errorf("words in %s may be broken anywhere", selector)
			}
		}
	}
}

// A table that scrolls has a shadow at the edge where there is more.
func TestScrollingTablesShowIt(t *testing.T) {
	_, rule, _ := strings.Cut(styleText, "\n.scroll {")
	rule, _, _ = strings.Cut(rule, "}")
	if !strings.Contains(rule, "overflow-x: auto") || strings.Count(rule, "no-repeat local") != 2 || strings.Count(rule, "no-repeat scroll") != 2 {
		t.Errorf("the rule is %s", rule)
	}
	page := pageOf(t, Run{"a", result(400, 3000)})
	if tables, scroll := strings.Count(page, "<table"), strings.Count(page, `<div class="scroll" tabindex="0" role="region"`); tables != scroll {
		t.Errorf("%d tables, %d of them scroll", tables, scroll)
	}
}
