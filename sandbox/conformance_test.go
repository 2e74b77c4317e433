package sandbox_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-axra/paywall/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(tellingLast{m}) }

// tellingLast prints what was found when all tests have ended: "go test -v" prints a
// line for each of them after what a test prints itself.
type tellingLast struct{ *testing.M }

func (m tellingLast) Run() int {
	code := m.M.Run()
	fmt.Print(found.String())
	return code
}

// found is what tell has to say at the end of the run.
var found strings.Builder

// The conformance suite holds what the plugin takes for granted about Axra, as
// assumptions that can be put to any installation of its API. Every run of the
// tests puts them to this package's sandbox; with a key of Axra's own sandbox
//
//	AXRA_API_KEY=bk_test_… go test -v -run Conformance ./sandbox/... -axra-live
//
// puts the same ones to Axra, and ends with a table of what was found.
var (
	axraLive = flag.Bool("axra-live", false,
		"also ask Axra's own sandbox, with AXRA_API_KEY (bk_test_…), and if set AXRA_API_SECRET and AXRA_ENDPOINT")
	axraWebhook = flag.String("axra-webhook", "",
		"also check a delivery of Axra: absolute path of a file with its headers, an empty line and its body; with AXRA_WEBHOOK_SECRET")
)

// liveDeadline bounds everything that is asked of Axra in one run.
const liveDeadline = time.Minute

// assumption is one thing that the plugin takes for granted about a subject: the
// API, or a webhook delivery.
type assumption[S any] struct {
	id    string
	says  string
	check func(S) finding
}

type verdict string

const (
	confirmed verdict = "confirmed"
	refuted   verdict = "refuted"
	noted     verdict = "noted" // either answer would do
	notRun    verdict = "not run"
)

// finding is what became of an assumption. What was seen never holds a secret,
// a token, a session's id or the query of a checkout URL.
type finding struct {
	id, says string
	verdict  verdict
	seen     string
	advice   string // what to do where it is refuted
}

// The most common advice.
const reportIt = "report it: the plugin has no option for this"

func isConfirmed(format string, args ...any) finding {
	return finding{verdict: confirmed, seen: fmt.Sprintf(format, args...)}
}

func isNoted(format string, args ...any) finding {
	return finding{verdict: noted, seen: fmt.Sprintf(format, args...)}
}

func isNotRun(format string, args ...any) finding {
	return finding{verdict: notRun, seen: fmt.Sprintf(format, args...)}
}

func isRefuted(advice, format string, args ...any) finding {
	return finding{verdict: refuted, advice: advice, seen: fmt.Sprintf(format, args...)}
}

// examine puts every assumption to the subject. What hide takes out stands in no
// finding.
func examine[S any](subject S, all []assumption[S], hide func(string) string) []finding {
	findings := make([]finding, 0, len(all))
	for _, a := range all {
		f := a.check(subject)
		f.id, f.says = a.id, a.says
		f.seen, f.advice = hide(f.seen), hide(f.advice)
		findings = append(findings, f)
	}
	return findings
}

// table is what a person reads at the end of a run.
func table(findings []finding) string {
	var out strings.Builder
	counts := map[verdict]int{}
	for _, f := range findings {
		counts[f.verdict]++
		fmt.Fprintf(&out, "%-9s  %s: %s\n", f.verdict, f.id, f.says)
		fmt.Fprintf(&out, "%11sseen: %s\n", "", f.seen)
		if f.advice != "" {
			fmt.Fprintf(&out, "%11sto do: %s\n", "", f.advice)
		}
	}
	fmt.Fprintf(&out, "%d confirmed, %d refuted, %d noted, %d not run\n",
		counts[confirmed], counts[refuted], counts[noted], counts[notRun])
	return out.String()
}

// wantAllConfirmed is for our own sandbox, where nothing may be left open.
func wantAllConfirmed(t *testing.T, findings []finding) {
	t.Helper()
	for _, f := range findings {
		t.Run(f.id, func(t *testing.T) {
			if f.verdict != confirmed && f.verdict != noted {
				t.Errorf("%s: %s\n%s", f.says, f.verdict, f.seen)
			}
		})
	}
}

// tell ends a run on Axra: a test for each assumption, and at last the table.
func tell(t *testing.T, findings []finding) {
	for _, f := range findings {
		t.Run(f.id, func(t *testing.T) {
			switch f.verdict {
			case refuted:
				t.Errorf("%s\nseen: %s\nto do: %s", f.says, f.seen, f.advice)
			case notRun:
				t.Skip(f.seen)
			}
		})
	}
	fmt.Fprintf(&found, "\nWhat the plugin assumes about Axra, and what was found:\n\n%s\n", table(findings))
}

func TestConformance(t *testing.T) {
	for name, cfg := range map[string]sandbox.Config{
		"sandbox":                      {},
		"sandbox without the envelope": {BareResponses: true},
	} {
		t.Run(name, func(t *testing.T) {
			_, at := openSandbox(t, cfg, nil)
			a := newAPI(t, at)
			wantAllConfirmed(t, examine(a, apiAssumptions, a.hide))
		})
	}
	if *axraLive {
		t.Run("live", testLive)
	}
}

func testLive(t *testing.T) {
	at, err := liveTarget(os.Getenv)
	if errors.Is(err, errNoKey) {
		tellNotRun(os.Stdout, err)
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), liveDeadline)
	defer cancel()
	a := connect(ctx, at)
	defer a.close()
	tell(t, examine(a, apiAssumptions, a.hide))
}

// noTestsToRun is the line by which "go test" knows that there was nothing to run. Of
// several packages, or of one that is named, it shows nothing else of a test that did not
// fail, but for this ends its line with "[no tests to run]".
const noTestsToRun = "\ntesting: warning: no tests to run\n"

// tellNotRun says that Axra was not asked, also without -v: nobody may take the "ok" of
// "go test" for an answer of Axra.
func tellNotRun(w io.Writer, why error) { fmt.Fprintf(w, "\n%v\n%s", why, noTestsToRun) }

// target is an installation of the API, and who calls it.
type target struct{ endpoint, key, secret string }

// openSandbox serves a sandbox, behind wrap if that is not nil.
func openSandbox(t *testing.T, cfg sandbox.Config, wrap func(http.Handler) http.Handler) (*sandbox.Sandbox, target) {
	t.Helper()
	sb, err := sandbox.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var handler http.Handler = sb
	if wrap != nil {
		handler = wrap(sb)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		if err := sb.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		server.Close()
	})
	return sb, target{endpoint: server.URL + sandbox.APIPrefix, key: sandbox.DefaultAPIKey, secret: sandbox.DefaultAPISecret}
}

func newAPI(t *testing.T, at target) *api {
	t.Helper()
	a := connect(t.Context(), at)
	t.Cleanup(a.close)
	return a
}
