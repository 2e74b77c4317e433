package cli

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/caddy-axra/paywall/webhook"
)

// webhookReport is what was found out about a captured webhook.
type webhookReport struct {
	// Verifiable says that a configuration verifies the request: the one in Signature.
	Verifiable bool `json:"verifiable"`
	// Configured says that the configuration at hand does.
	Configured bool              `json:"configured"`
	Signature  map[string]string `json:"signature,omitzero"` // without the defaults
	Caddyfile  string            `json:"caddyfile,omitempty"`
	Fits       []secretFit       `json:"fits"`
	Looked     webhook.Looked    `json:"looked_at"`
	Masked     []string          `json:"masked_headers,omitempty"`
	Secrets    []string          `json:"secrets_tried"` // where they come from
	Reason     string            `json:"refused_because,omitempty"`
	// Event is nil if the body is no event; EventError says why.
	Event      *webhook.Description `json:"event,omitempty"`
	EventError string               `json:"event_error,omitempty"`
}

// secretFit is a way of signing that fits, with the secret and the reading of the body.
type secretFit struct {
	webhook.Fit
	Secret string `json:"secret"`
	Body   string `json:"body,omitempty"`
}

func (s webhookSecrets) inspect(request webhook.Captured) webhookReport {
	bodies := request.Bodies()
	fits, looked := webhook.Inspect(request.Header, bodies, s.secrets)
	report := webhookReport{Fits: []secretFit{}, Looked: looked, Secrets: s.names, Reason: request.Reason, Masked: request.Masked()}
	body := request.Body
	for _, fit := range fits {
		body = bodies[fit.Body].Bytes
		report.Fits = append(report.Fits, secretFit{fit, s.names[fit.Secret], bodies[fit.Body].Note})
	}
	if len(fits) > 0 && fits[0].Known {
		report.Verifiable = true
		report.Signature, report.Caddyfile = configFor(fits[0].Options())
		report.Configured = s.configured != nil && s.configured.Verify(request.Header, body) == nil
	}
	event, err := webhook.Describe(body)
	if err != nil {
		report.EventError = err.Error()
		return report
	}
	event.Session, event.Payment = webhook.ShortID(event.Session), webhook.ShortID(event.Payment)
	report.Event = &event
	return report
}

// configFor writes options as JSON has them and as a Caddyfile has them; the latter is empty for the defaults.
func configFor(options []webhook.Option) (signature map[string]string, caddyfile string) {
	signature = make(map[string]string)
	var lines strings.Builder
	for _, option := range options {
		signature[option.Name] = option.Value
		fmt.Fprintf(&lines, "\t\t\t%s %s\n", option.Name, option.Value)
	}
	if len(options) == 0 {
		return signature, ""
	}
	return signature, "{\n\taxra {\n\t\tsignature {\n" + lines.String() + "\t\t}\n\t}\n}\n"
}

func (r webhookReport) print(p printer) {
	if r.Reason != "" {
		p.line("It was refused: %s", r.Reason)
		p.line("")
	}
	for _, fit := range r.Fits {
		fit.print(p)
	}
	switch {
	case r.Verifiable:
		r.printConfig(p)
	case len(r.Fits) > 0:
		p.line("")
		p.line("See in Axra's settings whether webhooks can be signed in another way, and please report it.")
	default:
		r.printCauses(p)
	}
	r.printEvent(p)
}

func (f secretFit) print(p printer) {
	signed := ""
	if f.TimestampHeader != "" {
		signed += ", timestamp header " + f.TimestampHeader
	}
	if f.IDHeader != "" {
		signed += ", id header " + f.IDHeader
	}
	signed += ", signed with " + f.Secret
	if f.SecretEncoding != "" {
		signed += ", decoded from " + f.SecretEncoding
	}
	switch {
	case f.Algorithm == "":
		p.line("The header %s holds the webhook secret itself and no signature, which this version cannot verify.", f.Header)
	case f.Known:
		p.line("It fits: scheme %s, header %s%s.", f.Scheme, f.Header, signed)
	default:
		p.line("The header %s holds the %s of %s%s. This version cannot verify that.", f.Header, f.Algorithm, f.Scheme, signed)
	}
	if f.Body != "" {
		p.line("That holds for the body %s.", f.Body)
	}
}

func (r webhookReport) printConfig(p printer) {
	p.line("")
	switch {
	case r.Configured:
		p.line("The configuration at hand verifies it. If Caddy refuses it, Caddy runs with another one: reload it, or restart it if")
		p.line("a secret in its environment has changed.")
	case r.Caddyfile == "":
		p.line("That is the default: leave `signature` out of the global option axra.")
	default:
		p.line("Write into the Caddyfile, in place of any other `signature`:")
		p.line("")
		fmt.Fprint(p.out, r.Caddyfile) // its values are names of headers and schemes
	}
	if !r.Configured && len(r.Fits) > 1 {
		p.line("")
		p.line("These are the lines of the first one that fits.")
	}
}

// printCauses lists what was looked at, and what may be wrong.
func (r webhookReport) printCauses(p printer) {
	p.line("Nothing fits.")
	p.line("")
	p.line("What was looked at:")
	rows := [][]string{
		{"  schemes", strings.Join(webhook.Schemes, "  ")},
		{"  secrets", strings.Join(r.Secrets, ", ") + "; also decoded from hex and base64"},
		{"  headers that could carry a signature", listed(r.Looked.Signatures)},
		{"  headers that could be a time", listed(r.Looked.Timestamps)},
	}
	if len(r.Looked.Repeated) > 0 {
		rows = append(rows, []string{"  headers that occur more than once, and so are refused", listed(r.Looked.Repeated)})
	}
	if len(r.Masked) > 0 {
		rows = append(rows, []string{"  headers that are masked, and could not be tried", listed(r.Masked)})
	}
	p.table(rows)
	p.line("")
	p.line("Likely causes:")
	if len(r.Looked.Signatures)+len(r.Looked.Repeated) == 0 {
		p.line("- It is not from Axra: anybody can send requests to a webhook's address.")
		p.line("- A proxy in front of Caddy, or the tool that saved it, has left the signature header out.")
		return
	}
	p.line("- It was signed with another secret: compare it with the one in Axra, and mind test and live.")
	p.line("- The body was changed on its way, by a proxy that decodes or reformats it, or when it was saved.")
	p.line("- It is not from Axra: anybody can send requests to a webhook's address.")
	p.line("- Axra signs in another way: please report the names of the headers.")
}

func listed(names []string) string { return cmp.Or(strings.Join(names, ", "), "none") }

// missingFields says what follows if a field of a completed payment is not found.
var missingFields = map[string]string{
	"amount":     ": the payment opens nothing, as it may be too little",
	"currency":   ": the payment opens nothing, as it may be too little",
	"session id": ": the payment opens nothing",
	"metadata":   ": the payment counts as another program's, and opens nothing",
	"payment id": ": the purchase is known by its session alone, and a refund must name that",
}

func (r webhookReport) missing(field string) string {
	switch {
	case field == "timestamp":
		return "not found: the event counts from its arrival, which is fine unless it is sent again much later"
	case r.Event.Event.Completes():
		return "not found" + missingFields[field]
	}
	return "not found"
}

// printEvent helps to confirm the names of fields, which Axra's documentation leaves open.
func (r webhookReport) printEvent(p printer) {
	p.line("")
	if r.Event == nil {
		p.line("The body is not an event that can be read: %s", r.EventError)
		return
	}
	is := "The event is"
	if len(r.Fits) == 0 {
		is = "Whoever sent it, it says that it is"
	}
	about := ""
	if !r.Event.Documented {
		about += ", which Axra does not document"
	}
	if r.Event.Session != "" {
		about += ", session " + r.Event.Session
	}
	if r.Event.Payment != "" {
		about += ", payment " + r.Event.Payment
	}
	p.line("%s %s%s. Its fields:", is, r.Event.Event, about)
	var rows [][]string
	for _, field := range r.Event.Fields {
		found := strings.Join(field.Found, ", ")
		rows = append(rows, []string{"  " + field.Name, cmp.Or(found, r.missing(field.Name))})
	}
	p.table(append(rows, []string{"  others, which are not read", listed(r.Event.Others)}))
}
