package paywall

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Levels of a finding.
const (
	levelOK      = "ok"
	levelWarning = "warning"
	levelError   = "error"
)

// finding is what a check has to say. None quotes a secret.
type finding struct {
	Level   string `json:"level"`
	Check   string `json:"check"`
	Subject string `json:"subject,omitempty"`
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
}

// remarks are what one check has to say about its concern.
type remarks struct {
	check string
	list  []finding
}

func (f *remarks) ok(subject, format string, args ...any) {
	f.list = append(f.list, finding{Level: levelOK, Check: f.check, Subject: subject, Message: fmt.Sprintf(format, args...)})
}

func (f *remarks) warn(subject, fix, format string, args ...any) {
	f.list = append(f.list, finding{Level: levelWarning, Check: f.check, Subject: subject, Fix: fix, Message: fmt.Sprintf(format, args...)})
}

func (f *remarks) fail(subject, fix, format string, args ...any) {
	f.list = append(f.list, finding{Level: levelError, Check: f.check, Subject: subject, Fix: fix, Message: fmt.Sprintf(format, args...)})
}

// orOK says that all is well where nothing else was found.
func (f *remarks) orOK(format string, args ...any) []finding {
	if len(f.list) == 0 {
		f.ok("", format, args...)
	}
	return f.list
}

// diagnosis is the outcome of `caddy axra check`.
type diagnosis struct {
	Findings  []finding `json:"findings"`
	Unchecked []string  `json:"unchecked"` // what cannot be told from here
}

func (d *diagnosis) count(level string) int {
	count := 0
	for _, finding := range d.Findings {
		if finding.Level == level {
			count++
		}
	}
	return count
}

// examination is a configuration that is provisioned and not started.
type examination struct {
	ctx           context.Context //nolint:containedctx // it lives as long as the command
	app           *App
	servers       map[string]*caddyhttp.Server
	trustsProxies map[*caddyhttp.Server]bool
	logs          []requestLog
	live          bool
	unchecked     []string
}

// note adds to what cannot be told from here.
func (e *examination) note(format string, args ...any) {
	note := fmt.Sprintf(format, args...)
	if !slices.Contains(e.unchecked, note) {
		e.unchecked = append(e.unchecked, note)
	}
}

// run makes all checks, those that must not be made without being asked last.
func (e *examination) run() []finding {
	checks := []func() []finding{
		e.checkSecrets, e.checkEndpoint, e.checkPrices, e.checkAddresses, e.checkWebhook, e.checkKeySets, e.checkOrder,
		e.checkOverlap, e.checkFiles, e.checkCaches, e.checkLogs, e.checkLedger, e.checkClock,
	}
	if e.live {
		checks = append(checks, e.checkAxra, e.checkWebhookAddress)
	} else {
		e.note("whether Axra accepts the credentials, and whether the webhook is reached from outside: add --live")
	}
	var all []finding
	for _, check := range checks {
		all = append(all, check()...)
	}
	e.note("what stands before Caddy: a CDN or a proxy must keep no answer of gated addresses, and must pass on cookies and the webhook's body as it is")
	e.note("whether the webhook address is entered in Axra, and how Axra signs: make a first payment with a test key")
	return all
}

// Errors counts the errors.
func (d *diagnosis) Errors() int { return d.count(levelError) }

// Warnings counts the warnings.
func (d *diagnosis) Warnings() int { return d.count(levelWarning) }

// WriteText writes the diagnosis for people, grouped by check, the fix below each line.
func (d *diagnosis) WriteText(out io.Writer) error {
	check := ""
	for _, finding := range d.Findings {
		if finding.Check != check {
			check = finding.Check
			fmt.Fprintf(out, "%s\n", check)
		}
		finding.print(out)
	}
	if len(d.Unchecked) > 0 {
		fmt.Fprintln(out, "not checked")
	}
	for _, note := range d.Unchecked {
		fmt.Fprintf(out, "  -        %s\n", note)
	}
	_, err := fmt.Fprintf(out, "\nerrors: %d, warnings: %d\n", d.Errors(), d.Warnings())
	return err
}

func (f finding) print(out io.Writer) {
	subject := f.Subject
	if subject != "" {
		subject += ": "
	}
	fmt.Fprintf(out, "  %-8s %s%s\n", f.Level, subject, f.Message)
	if f.Fix != "" {
		fmt.Fprintf(out, "           fix: %s\n", f.Fix)
	}
}
