package paywall_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
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

// heard is what listeners were told, and how they behave.
var heard = struct {
	sync.Mutex
	lines  []string
	behave func(caddy.Event) error
}{}

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
	heard.Lock()
	behave := heard.behave
	heard.Unlock()
	if behave != nil {
		if err := behave(event); err != nil {
			return err
		}
	}
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

// newListeningWorld has handlers that do as behave says, and then take note.
func newListeningWorld(t *testing.T, config string, behave func(caddy.Event) error) *world {
	t.Helper()
	heard.Lock()
	heard.lines, heard.behave = nil, behave
	heard.Unlock()
	return newWorld(t, worldOptions{Caddyfile: listening(config)})
}

// told waits for so many events and returns them.
func (w *world) told(count int) []string {
	w.t.Helper()
	for range 500 {
		heard.Lock()
		lines := append([]string(nil), heard.lines...)
		heard.Unlock()
		if len(lines) >= count {
			return lines
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("fewer than %d events: %v", count, heard.lines)
	return nil
}

// wantTold ends the configuration, so that an event too many has come, too.
func (w *world) wantTold(want ...string) {
	w.t.Helper()
	w.told(len(want))
	w.stop()
	got := w.told(len(want))
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		w.t.Errorf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// sure delivers an event that must be acknowledged.
func (w *world) sure(event map[string]any) {
	w.t.Helper()
	body := encode(w.t, event)
	if answer := w.deliver(body, sign(body, webhookSecret)); answer.status != http.StatusOK {
		w.t.Fatalf("answers %d", answer.status)
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
	w := newListeningWorld(t, fiveLines, nil)
	session, completed := w.visitor().started("/premium/article.html")
	until := w.now().Add(30 * day).UTC()
	completed["timestamp"] = w.now().UTC().Format(time.RFC3339)
	about := func(event string) map[string]any {
		return map[string]any{"event": event, "timestamp": completed["timestamp"], "data": map[string]any{"paymentId": "bpay_" + session}}
	}
	for _, event := range []map[string]any{
		completed, completed, about("payment.disputed"), about("payment.dispute_won"), about("payment.dispute_lost"),
		about("payment.refunded"), about("payment.refunded"), completed,
	} {
		w.sure(event)
	}
	what := " axra session=" + session + " payment=bpay_" + session + " /premium/* * " + w.site + " 5.00 usd until="
	w.wantTold(
		"axra.paid"+what+until.Format(time.RFC3339)+" outcome= reason=",
		"axra.disputed"+what+" outcome=opened reason=",
		"axra.disputed"+what+" outcome=won reason=",
		"axra.disputed"+what+" outcome=lost reason=",
		"axra.refunded"+what+" outcome= reason=",
	)
	if log := w.log(); strings.Contains(log, session) || !strings.Contains(log, `"session":"`+session[:12]+"…") {
		t.Error("the debug log of events does not have the ids shortened")
	}
}

// W9, W1: what is rejected is told of, strangers cause one event a minute.
func TestRejectedIsToldOf(t *testing.T) {
	w := newListeningWorld(t, fiveLines, nil)
	session, completed := w.visitor().started("/premium/article.html")
	metadata := maps.Clone(completed["data"].(map[string]any)["metadata"].(map[string]any))
	metadata["paywall_access"] = "never"
	w.sure(changedData(completed, map[string]any{"metadata": metadata}))
	w.sure(changedData(completed, map[string]any{"amount": 4}))
	w.sure(changedData(completed, map[string]any{"amount": 4}))
	for range 3 {
		w.deliver([]byte("{}"), "00")
		w.deliver([]byte("{}"), "")
	}
	ids := " axra session=" + session + " payment=bpay_" + session
	w.wantTold(
		"axra.rejected"+ids+"    5.00 usd until= outcome= reason=metadata",
		"axra.rejected"+ids+" /premium/* * "+w.site+" 4.00 usd until= outcome= reason=amount",
		"axra.rejected axra session= payment=      until= outcome= reason=signature",
		"axra.rejected axra session= payment=      until= outcome= reason=unsigned",
	)
	if n := strings.Count(w.log(), "amount or currency of a completed payment differ from the price"); n != 1 {
		t.Errorf("one state change, %d lines", n)
	}
}

// What is queued when a configuration ends is told of first, and no goroutine stays.
func TestTheEndOfAConfigurationLosesNoEvent(t *testing.T) {
	begun, hang := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w := newListeningWorld(t, fiveLines, func(caddy.Event) error {
		once.Do(func() { close(begun); <-hang })
		return nil
	})
	for range 3 {
		_, completed := w.visitor().started("/premium/article.html")
		w.sure(completed)
	}
	<-begun
	time.AfterFunc(100*time.Millisecond, func() { close(hang) })
	w.stop()
	if n := len(w.told(3)); n != 3 {
		t.Errorf("%d events", n)
	}
	w.wantNoEventGoroutine()
	w.load(w.config) // and the next configuration tells, too
	_, completed := w.visitor().started("/premium/article.html")
	w.sure(completed)
	w.told(4)
}

// wantNoEventGoroutine waits for the goroutine that emits events to end.
func (w *world) wantNoEventGoroutine() {
	w.t.Helper()
	var stacks string
	for range 500 {
		all := make([]byte, 1<<20)
		stacks = string(all[:runtime.Stack(all, true)])
		if !strings.Contains(stacks, "events.(*Queue)") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Errorf("a goroutine stays:\n%s", stacks)
}
