package paywall_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-axra/paywall/internal/sitetest"
)

func init() {
	caddy.RegisterModule(new(listener))
	caddy.RegisterModule(new(execStub))
}

// listener is an event handler: it keeps what it is told, in words of Caddy's
// placeholders.
type listener struct {
	Line string `json:"line"`
}

// heard is what listeners were told.
var heard struct {
	sync.Mutex
	lines []string
}

func (*listener) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.listener", New: func() caddy.Module { return new(listener) }}
}

func (l *listener) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&l.Line) {
		return d.ArgErr()
	}
	return nil
}

func (l *listener) Handle(ctx context.Context, event caddy.Event) error {
	replacer, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return fmt.Errorf("no replacer for %s", event.Name())
	}
	heard.Lock()
	defer heard.Unlock()
	heard.lines = append(heard.lines, replacer.ReplaceAll(l.Line, ""))
	return nil
}

// execStub takes the syntax of mholt/caddy-events-exec, which the documentation shows.
type execStub struct {
	Command string   `json:"command"`
	Args    []string `json:"args,omitempty"`
}

func (*execStub) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.exec", New: func() caddy.Module { return new(execStub) }}
}

func (e *execStub) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.NextArg() {
		return d.ArgErr()
	}
	e.Command, e.Args = d.Val(), d.RemainingArgs()
	return nil
}

func (*execStub) Handle(context.Context, caddy.Event) error { return nil }

// listening is a Caddyfile with handlers of our events.
func listening(config string) string {
	const line = "{event.name} {event.module} session={event.data.session} payment={event.data.payment} {event.data.pass} {event.data.resource} " +
		"{event.data.site} {event.data.amount} {event.data.currency} until={event.data.until} outcome={event.data.outcome} reason={event.data.reason}"
	var handlers strings.Builder
	for _, name := range []string{"paid", "refunded", "disputed", "rejected"} {
		fmt.Fprintf(&handlers, "\t\ton axra.%s listener %q\n", name, line)
	}
	return strings.Replace(config, "{\n\tSETUP\n", "{\n\tSETUP\n\tevents {\n"+handlers.String()+"\t}\n", 1)
}

func newListeningWorld(t *testing.T) *sitetest.World {
	t.Helper()
	heard.Lock()
	heard.lines = nil
	heard.Unlock()
	return newWorld(t, sitetest.Options{Caddyfile: listening(sitetest.FiveLines)})
}

// wantTold ends the configuration, before which everything is told, and compares it.
func wantTold(w *sitetest.World, want ...string) {
	w.T.Helper()
	w.Stop()
	heard.Lock()
	defer heard.Unlock()
	if got := strings.Join(heard.lines, "\n"); got != strings.Join(want, "\n") {
		w.T.Errorf("told:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

// sure delivers an event that must be acknowledged.
func sure(w *sitetest.World, event map[string]any) {
	w.T.Helper()
	if answer := w.Send(event); answer.Status != http.StatusOK {
		w.T.Fatalf("answers %d", answer.Status)
	}
}

// changedData is a copy of an event with other data.
func changedData(event map[string]any, changes map[string]any) map[string]any {
	changed := maps.Clone(event)
	data := maps.Clone(event["data"].(map[string]any))
	maps.Copy(data, changes)
	changed["data"] = data
	return changed
}

func TestEventsTellWhatHasBeenStored(t *testing.T) {
	w := newListeningWorld(t)
	session, completed := w.Visitor().Started(article)
	until := w.Now().Add(30 * day).UTC()
	completed["timestamp"] = w.Now().UTC().Format(time.RFC3339)
	about := func(event string) map[string]any {
		return map[string]any{"event": event, "timestamp": completed["timestamp"], "data": map[string]any{"paymentId": "bpay_" + session}}
	}
	for _, event := range []map[string]any{
		completed, completed, about("payment.disputed"), about("payment.dispute_won"), about("payment.dispute_lost"),
		about("payment.refunded"), about("payment.refunded"), completed,
	} {
		sure(w, event)
	}
	what := " axra session=" + session + " payment=bpay_" + session + " /premium/* * " + w.Site + " 5.00 usd until="
	wantTold(w,
		"axra.paid"+what+until.Format(time.RFC3339)+" outcome= reason=",
		"axra.disputed"+what+" outcome=opened reason=",
		"axra.disputed"+what+" outcome=won reason=",
		"axra.disputed"+what+" outcome=lost reason=",
		"axra.refunded"+what+" outcome= reason=",
	)
	if log := w.Log(); strings.Contains(log, session) || !strings.Contains(log, `"session":"`+session[:12]+"…") {
		t.Error("the debug log of events does not have the ids shortened")
	}
}

// What is rejected is told of. Strangers cause one event a minute.
func TestW1W9EventsTellWhatWasRejected(t *testing.T) {
	w := newListeningWorld(t)
	session, completed := w.Visitor().Started(article)
	metadata := maps.Clone(completed["data"].(map[string]any)["metadata"].(map[string]any))
	metadata["paywall_access"] = "never"
	sure(w, changedData(completed, map[string]any{"metadata": metadata}))
	sure(w, changedData(completed, map[string]any{"amount": 4}))
	sure(w, changedData(completed, map[string]any{"amount": 4}))
	for range 3 {
		w.Deliver([]byte("{}"), "00")
		w.Deliver([]byte("{}"), "")
	}
	ids := " axra session=" + session + " payment=bpay_" + session
	wantTold(w,
		"axra.rejected"+ids+"    5.00 usd until= outcome= reason=metadata",
		"axra.rejected"+ids+" /premium/* * "+w.Site+" 4.00 usd until= outcome= reason=amount",
		"axra.rejected axra session= payment=      until= outcome= reason=signature",
		"axra.rejected axra session= payment=      until= outcome= reason=unsigned",
	)
	if n := strings.Count(w.Log(), "amount or currency of a completed payment differ from the price"); n != 1 {
		t.Errorf("one state change, %d lines", n)
	}
}
