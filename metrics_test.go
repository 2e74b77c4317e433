package paywall_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/internal/sitetest"
	"github.com/caddy-axra/paywall/sandbox"
)

// measured is a Caddyfile whose site shows Caddy's metrics.
func measured(config string) string {
	return strings.Replace(config, "\taxra_webhook", "\tmetrics /metrics\n\taxra_webhook", 1)
}

// series are samples by name and labels, as Caddy shows them.
type series map[string]float64

func scrape(w *sitetest.World) series {
	w.T.Helper()
	answer := w.Visitor().Do(http.MethodGet, "/metrics", nil, nil)
	if answer.Status != http.StatusOK {
		w.T.Fatalf("/metrics answers %d", answer.Status)
	}
	found := make(series)
	for line := range strings.Lines(answer.Body) {
		name, value, ok := cutLast(strings.TrimSpace(line), " ")
		if !ok || !strings.HasPrefix(name, "caddy_axra_") {
			continue
		}
		number, err := strconv.ParseFloat(value, 64)
		mustDo(w.T, err)
		found[name] = number
	}
	return found
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// wantGrown compares all that has grown since before, but for durations and buckets.
func wantGrown(w *sitetest.World, before series, want series) {
	w.T.Helper()
	got := make(series)
	for name, value := range scrape(w) {
		if strings.Contains(name, "_bucket{") || strings.Contains(name, "_sum") || value == before[name] {
			continue
		}
		name := strings.TrimPrefix(name, "caddy_axra_")
		if _, asked := want[name]; asked || !inTheBackground(name) {
			got[name] = value - before["caddy_axra_"+name]
		}
	}
	if !maps.Equal(got, want) {
		w.T.Errorf("grown:\n%v\nwant:\n%v", got.lines(), want.lines())
	}
}

// inTheBackground reports whether something grows at some time after what caused it.
func inTheBackground(name string) bool {
	return name == "change_feed_age_seconds" || name == "tokens_remembered"
}

func (s series) lines() string {
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&lines, "\t%s %g\n", name, s[name])
	}
	return lines.String()
}

func step(name string) string { return `funnel_steps_total{pass="/premium/*",step="` + name + `"}` }

// outcome is the label of a webhook that was acknowledged.
func event(name, outcome string) string {
	return `webhook_events_total{event="` + name + `",outcome="` + outcome + `"}`
}

const created = `checkouts_total{outcome="created"}`

func TestTheFunnelIsCountedByPass(t *testing.T) {
	w := newWorld(t, sitetest.Options{Caddyfile: measured(sitetest.FiveLines)})
	v := w.Visitor()

	before := scrape(w)
	checkout := v.Browse(article)
	wantGrown(w, before, series{
		step("shown"): 1, step("checkout"): 1, created: 1,
		`api_call_duration_seconds_count{call="session",outcome="ok"}`: 1,
	})

	before = scrape(w)
	v.Open(article)                                                         // the open checkout again
	v.Do(http.MethodGet, article, nil, nil)                                 // a program
	v.Do(http.MethodHead, article, sitetest.Navigation, nil)                // no person
	w.Visitor().Open("/premium/article.html?axra_session=of+somebody+else") // no offer
	wantGrown(w, before, series{step("shown"): 1, `checkouts_total{outcome="reused"}`: 1})

	w.Sandbox.Hold()
	back := v.Pay(checkout)
	before = scrape(w)
	v.Open(back.Location()) // waiting is not shown
	v.Open(article)
	wantGrown(w, before, series{})

	before = scrape(w)
	w.Sandbox.Release()
	w.Delivered()
	wantGrown(w, before, series{
		step("paid"): 1, `amount_total{currency="usd",outcome="paid",pass="/premium/*"}`: 5, event("payment.completed", "paid"): 1,
	})

	before = scrape(w)
	v.Browse(back.Location()).WantPaid(t)
	for range 3 {
		v.Open("/premium/other.html").WantPaid(t)
	}
	wantGrown(w, before, series{step("used"): 1, `checkouts_total{outcome="redeemed"}`: 1})

	problems, _ := gather(t) // each metric has a sample now
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
}

func TestCallsThatFailAreCounted(t *testing.T) {
	w := newWorld(t, sitetest.Options{Caddyfile: measured(sitetest.FiveLines)})
	const suspended = "caddy_axra_api_suspended"
	if got := scrape(w)[suspended]; got != 0 {
		t.Fatalf("suspended: %g", got)
	}
	mustDo(t, w.Sandbox.SetFault(sandbox.Fault{Kind: sandbox.FaultUnauthorized}))
	before := scrape(w)
	for range 6 {
		w.Visitor().Open(article).WantPage(t, http.StatusServiceUnavailable, "")
	}
	wantGrown(w, before, series{
		`api_call_duration_seconds_count{call="session",outcome="credentials"}`: 5, `checkouts_total{outcome="failed"}`: 6, "api_suspended": 1,
	})
	w.Stop() // and the client with its breaker
	w.Load(w.Config)
	if got := scrape(w)[suspended]; got != 0 {
		t.Errorf("a client that is gone is suspended: %g", got)
	}
}

// What is worth an alert, and the funnel of a configuration that is not only tried, begin at zero, so that the first
// increase is seen. Counts outlive reloads, with several gates and configurations.
func TestMetricsBeginAtZeroAndOutliveReloads(t *testing.T) {
	config := measured(strings.Replace(sitetest.FiveLines, "\troot ROOT", "\taxra_paywall /extra/* {\n\t\tprice 1.00 eur\n\t}\n\troot ROOT", 1))
	w := newWorld(t, sitetest.Options{Caddyfile: config})
	before := scrape(w)
	for name, outcomes := range map[string][]string{
		"payment.completed": {"not_stored", "mismatch"}, "payment_link.session.completed": {"not_stored", "mismatch"},
		"payment.refunded": {"not_stored"}, "payment.disputed": {"not_stored"}, "payment.dispute_won": {"not_stored"}, "payment.dispute_lost": {"not_stored"},
	} {
		for _, outcome := range outcomes {
			if _, ok := before["caddy_axra_"+event(name, outcome)]; !ok {
				t.Errorf("%s %s is not there before it happens", name, outcome)
			}
		}
	}
	validated := mustAdapt(t, w.Expand(strings.Replace(config, "axra_paywall /extra/*", "axra_paywall /tried/*", 1)))
	mustDo(t, validate(t, validated))
	if _, ok := scrape(w)[`caddy_axra_funnel_steps_total{pass="/tried/*",step="paid"}`]; ok {
		t.Error("a configuration that was only validated is counted")
	}

	w.Visitor().Buy(article).WantPaid(t)
	w.Load(config)
	w.Load(strings.Replace(config, "endpoint ", "recheck 20s\n\t\tendpoint ", 1))
	w.Visitor().Buy(article).WantPaid(t)
	w.Load(config)
	after := scrape(w)
	for name, want := range map[string]float64{
		step("used"): 2, `amount_total{currency="usd",outcome="paid",pass="/premium/*"}`: 10, `funnel_steps_total{pass="/extra/*",step="shown"}`: 0,
	} {
		got, ok := after["caddy_axra_"+name]
		if grown := got - before["caddy_axra_"+name]; !ok || grown != want {
			t.Errorf("%s has grown by %g, want %g", name, grown, want)
		}
	}
}

func gather(t *testing.T) (problems []promlint.Problem, names []string) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	mustDo(t, paywall.RegisterMetrics(registry))
	families, err := registry.Gather()
	mustDo(t, err)
	problems, err = promlint.NewWithMetricFamilies(families).Lint()
	mustDo(t, err)
	return problems, paywall.MetricNames()
}

var metricName = regexp.MustCompile(`caddy_axra_[a-z_]+`)

// The table of metrics and the dashboard name the metrics that there are.
func TestMetricsAreDocumentedAndOnTheDashboard(t *testing.T) {
	_, names := gather(t)
	documented := namesIn(t, "docs/operations.md")
	shown := namesIn(t, "examples/grafana-dashboard.json")
	for _, name := range names {
		if !documented[name] {
			t.Errorf("%s is not in docs/operations.md", name)
		}
		if !shown[name] {
			t.Errorf("%s is not on the dashboard", name)
		}
	}
	for where, found := range map[string]map[string]bool{"docs/operations.md": documented, "the dashboard": shown} {
		for name := range found {
			if !slices.Contains(names, name) {
				t.Errorf("%s names %s, which there is not", where, name)
			}
		}
	}
}

func namesIn(t *testing.T, file string) map[string]bool {
	t.Helper()
	raw, err := os.ReadFile(file)
	mustDo(t, err)
	found := make(map[string]bool)
	for _, name := range metricName.FindAllString(string(raw), -1) {
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			name = strings.TrimSuffix(name, suffix)
		}
		found[name] = true
	}
	return found
}

func TestTheDashboardIsOneOfGrafana(t *testing.T) {
	raw, err := os.ReadFile("examples/grafana-dashboard.json")
	mustDo(t, err)
	var dashboard struct {
		Title      string
		UID        string
		Templating struct {
			List []struct {
				Name, Type string
				Query      any
			}
		}
		Panels []struct {
			ID         int
			Title      string
			Type       string
			Datasource struct{ UID string }
			Targets    []struct{ Expr string }
		}
	}
	mustDo(t, json.Unmarshal(raw, &dashboard))
	list := dashboard.Templating.List
	if len(list) == 0 || list[0].Name != "datasource" || list[0].Type != "datasource" || list[0].Query != "prometheus" {
		t.Errorf("the datasource is no variable: %+v", list)
	}
	ids := make(map[int]bool)
	for _, panel := range dashboard.Panels {
		if ids[panel.ID] {
			t.Errorf("two panels have the id %d", panel.ID)
		}
		ids[panel.ID] = true
		if panel.Type == "row" {
			continue
		}
		if panel.Datasource.UID != "${datasource}" || len(panel.Targets) == 0 {
			t.Errorf("%q has no target or another datasource than the variable: %+v", panel.Title, panel)
		}
		for _, target := range panel.Targets {
			if strings.Count(target.Expr, "(") != strings.Count(target.Expr, ")") || !metricName.MatchString(target.Expr) {
				t.Errorf("%q asks for %q", panel.Title, target.Expr)
			}
		}
	}
}
