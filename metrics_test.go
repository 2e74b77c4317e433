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

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/caddy-axra/paywall"
	"github.com/caddy-axra/paywall/sandbox"
)

// measured is a Caddyfile whose site shows Caddy's metrics.
func measured(config string) string {
	return strings.Replace(config, "\taxra_webhook", "\tmetrics /metrics\n\taxra_webhook", 1)
}

// series are samples by name and labels, as Caddy shows them.
type series map[string]float64

func (w *world) scrape() series {
	w.t.Helper()
	answer := w.visitor().do(http.MethodGet, "/metrics", nil, nil)
	if answer.status != http.StatusOK {
		w.t.Fatalf("/metrics answers %d", answer.status)
	}
	found := make(series)
	for line := range strings.Lines(answer.body) {
		name, value, ok := cutLast(strings.TrimSpace(line), " ")
		if !ok || !strings.HasPrefix(name, "caddy_axra_") {
			continue
		}
		number, err := strconv.ParseFloat(value, 64)
		mustDo(w.t, err)
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
func (w *world) wantGrown(before series, want series) {
	w.t.Helper()
	got := make(series)
	for name, value := range w.scrape() {
		if strings.Contains(name, "_bucket{") || strings.Contains(name, "_sum") || value == before[name] {
			continue
		}
		name := strings.TrimPrefix(name, "caddy_axra_")
		if _, asked := want[name]; asked || !inTheBackground(name) {
			got[name] = value - before["caddy_axra_"+name]
		}
	}
	if !maps.Equal(got, want) {
		w.t.Errorf("grown:\n%v\nwant:\n%v", got.lines(), want.lines())
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
	w := newWorld(t, worldOptions{Caddyfile: measured(fiveLines)})
	v := w.visitor()

	before := w.scrape()
	checkout := v.browse("/premium/article.html")
	w.wantGrown(before, series{
		step("shown"): 1, step("checkout"): 1, created: 1,
		`api_call_duration_seconds_count{call="session",outcome="ok"}`: 1,
	})

	before = w.scrape()
	v.open("/premium/article.html")                                         // the open checkout again
	v.do(http.MethodGet, "/premium/article.html", nil, nil)                 // a program
	v.do(http.MethodHead, "/premium/article.html", navigation, nil)         // no person
	w.visitor().open("/premium/article.html?axra_session=of+somebody+else") // no offer
	w.wantGrown(before, series{step("shown"): 1, `checkouts_total{outcome="reused"}`: 1})

	w.sandbox.Hold()
	back := v.pay(checkout, cardGood)
	before = w.scrape()
	v.open(back.location()) // waiting is not shown
	v.open("/premium/article.html")
	w.wantGrown(before, series{})

	before = w.scrape()
	w.sandbox.Release()
	w.delivered()
	w.wantGrown(before, series{
		step("paid"): 1, `paid_amount_total{currency="usd",pass="/premium/*"}`: 5, event("payment.completed", "paid"): 1,
	})

	before = w.scrape()
	v.browse(back.location()).wantPaid(t)
	for range 3 {
		v.open("/premium/other.html").wantPaid(t)
	}
	w.wantGrown(before, series{step("used"): 1, `checkouts_total{outcome="redeemed"}`: 1})
}

func TestCallsThatFailAreCounted(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: measured(fiveLines)})
	const suspended = "caddy_axra_api_suspended"
	if got := w.scrape()[suspended]; got != 0 {
		t.Fatalf("suspended: %g", got)
	}
	mustDo(t, w.sandbox.SetFault(sandbox.Fault{Kind: sandbox.FaultUnauthorized}))
	before := w.scrape()
	for range 6 {
		w.visitor().open("/premium/article.html").wantPage(t, http.StatusServiceUnavailable, "")
	}
	w.wantGrown(before, series{
		`api_call_duration_seconds_count{call="session",outcome="credentials"}`: 5, `checkouts_total{outcome="failed"}`: 6, "api_suspended": 1,
	})
	w.stop() // and the client with its breaker
	w.load(w.config)
	if got := w.scrape()[suspended]; got != 0 {
		t.Errorf("a client that is gone is suspended: %g", got)
	}
}

// A configuration that is only tried sells nothing.
func TestAFunnelBeginsWithItsConfiguration(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: measured(fiveLines)})
	tried := strings.Replace(w.config, "axra_paywall /premium/*", "axra_paywall /tried/*", 1)
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(w.expand(tried)), map[string]any{"filename": "Caddyfile"})
	mustDo(t, err)
	mustDo(t, validate(t, adapted))
	const step = `caddy_axra_funnel_steps_total{pass="/tried/*",step="paid"}`
	if _, ok := w.scrape()[step]; ok {
		t.Error("a configuration that was only validated is counted")
	}
	w.load(tried)
	if got, ok := w.scrape()[step]; !ok || got != 0 {
		t.Error("the funnel of a configuration that was loaded does not begin at zero")
	}
}

// What is worth an alert begins at zero, so that its first increase is seen.
func TestWhatAlertsBeginsAtZero(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: measured(fiveLines)})
	_, completed := w.visitor().started("/premium/article.html")
	cheap := encode(t, changedData(completed, map[string]any{"amount": 4}))
	body := encode(t, completed)
	before := w.scrape()
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
	w.deliver(cheap, sign(cheap, webhookSecret))
	w.breakLedger()
	w.deliver(body, sign(body, webhookSecret))
	after := w.scrape()
	for _, outcome := range []string{"mismatch", "not_stored"} {
		name := "caddy_axra_" + event("payment.completed", outcome)
		if grown := after[name] - before[name]; grown != 1 {
			t.Errorf("%s has grown by %g", name, grown)
		}
	}
}

// Metrics stay alive over reloads, with several gates and configurations, and after a
// configuration that failed.
func TestMetricsOutliveReloads(t *testing.T) {
	config := measured(strings.Replace(fiveLines, "\troot ROOT", "\taxra_paywall /extra/* {\n\t\tprice 1.00 eur\n\t}\n\troot ROOT", 1))
	w := newWorld(t, worldOptions{Caddyfile: config})
	before := w.scrape()
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
	w.load(config)
	w.load(strings.Replace(config, "endpoint ", "recheck 20s\n\t\tendpoint ", 1))
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
	w.load(config)
	after := w.scrape()
	for name, want := range map[string]float64{
		"caddy_axra_" + step("used"): 2, `caddy_axra_paid_amount_total{currency="usd",pass="/premium/*"}`: 10,
	} {
		if got := after[name] - before[name]; got != want {
			t.Errorf("%s has grown by %g, want %g", name, got, want)
		}
	}
	if _, ok := after[`caddy_axra_funnel_steps_total{pass="/extra/*",step="shown"}`]; !ok {
		t.Error("the funnel of a gate that nobody has visited does not begin at zero")
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

func TestMetricsAreNamedAsPrometheusWants(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: measured(fiveLines)}) // so that each has a sample
	w.visitor().buy("/premium/article.html", cardGood).wantPaid(t)
	problems, _ := gather(t)
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
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
