package paywall

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/caddy-axra/paywall/webhook"
)

// inspection is what was found out about a captured webhook.
type inspection struct {
	// Verifiable says that a configuration verifies the request; that of Signature.
	Verifiable bool `json:"verifiable"`
	// Configured says that the configuration at hand does.
	Configured bool             `json:"configured"`
	Signature  *SignatureConfig `json:"signature,omitempty"`
	Caddyfile  string           `json:"caddyfile,omitempty"`
	Fits       []signedSo       `json:"fits"`
	Looked     webhook.Looked   `json:"looked_at"`
	Masked     []string         `json:"masked_headers,omitempty"`
	Secrets    []string         `json:"secrets_tried"` // where they come from
	Refused    string           `json:"refused_because,omitempty"`
	// Event is nil where the body is no event; EventError says why.
	Event      *webhook.Description `json:"event,omitempty"`
	EventError string               `json:"event_error,omitempty"`
}

// signedSo is a fit, with the secret and the reading of the body that it holds for.
type signedSo struct {
	webhook.Fit
	Secret string `json:"secret"`
	Body   string `json:"body,omitempty"`
}

func (k keysToTry) inspect(request webhook.Captured) inspection {
	bodies := request.Bodies()
	fits, looked := webhook.Inspect(request.Header, bodies, k.secrets)
	result := inspection{Fits: []signedSo{}, Looked: looked, Secrets: k.names, Refused: request.Reason, Masked: request.Masked()}
	body := request.Body
	for _, fit := range fits {
		body = bodies[fit.Body].Bytes
		result.Fits = append(result.Fits, signedSo{fit, k.names[fit.Secret], bodies[fit.Body].Note})
	}
	if len(fits) > 0 && fits[0].Known {
		result.Verifiable = true
		result.Caddyfile = caddyfileFor(fits[0])
		result.Signature = configFor(fits[0])
		result.Configured = k.configured != nil && k.configured.Verify(request.Header, body) == nil
	}
	event, err := webhook.Describe(body)
	if err != nil {
		result.EventError = err.Error()
		return result
	}
	event.Session, event.Payment = shorten(event.Session), shorten(event.Payment)
	result.Event = &event
	return result
}

// configFor is what a fit needs, without what is the default.
func configFor(fit webhook.Fit) *SignatureConfig {
	config := new(SignatureConfig)
	fields := map[string]*string{
		"header": &config.Header, "scheme": &config.Scheme, "timestamp_header": &config.TimestampHeader,
		"id_header": &config.IDHeader, "secret_encoding": &config.SecretEncoding,
	}
	for _, option := range fit.Options() {
		*fields[option.Name] = option.Value
	}
	return config
}

// caddyfileFor is the same as a block of the global option; empty for the defaults.
func caddyfileFor(fit webhook.Fit) string {
	options := fit.Options()
	if len(options) == 0 {
		return ""
	}
	var out strings.Builder
	out.WriteString("{\n\taxra {\n\t\tsignature {\n")
	for _, option := range options {
		fmt.Fprintf(&out, "\t\t\t%s %s\n", option.Name, option.Value)
	}
	out.WriteString("\t\t}\n\t}\n}\n")
	return out.String()
}

func (r inspection) print(out io.Writer) {
	if r.Refused != "" {
		fmt.Fprintf(out, "It was refused: %s\n\n", clean(r.Refused))
	}
	for _, fit := range r.Fits {
		fit.print(out)
	}
	if r.Verifiable {
		r.printLines(out)
	} else {
		r.printCauses(out)
	}
	r.printEvent(out)
}

func (s signedSo) print(out io.Writer) {
	switch {
	case s.Algorithm == "":
		fmt.Fprintf(out, "The header %s holds the webhook secret itself and no signature, which this version cannot verify.\n", s.Header)
	case s.Known:
		fmt.Fprintf(out, "It fits: scheme %s, header %s%s, signed with %s%s.\n", s.Scheme, s.Header, s.others(), s.Secret, s.encoding())
	default:
		fmt.Fprintf(out, "The header %s holds the %s of %s%s, signed with %s%s. This version cannot verify that.\n",
			s.Header, s.Algorithm, s.Scheme, s.others(), s.Secret, s.encoding())
	}
	if s.Body != "" {
		fmt.Fprintf(out, "That holds for the body %s.\n", s.Body)
	}
}

func (s signedSo) others() string {
	others := ""
	if s.TimestampHeader != "" {
		others += ", timestamp header " + s.TimestampHeader
	}
	if s.IDHeader != "" {
		others += ", id header " + s.IDHeader
	}
	return others
}

func (s signedSo) encoding() string {
	if s.SecretEncoding == "" {
		return ""
	}
	return ", decoded from " + s.SecretEncoding
}

func (r inspection) printLines(out io.Writer) {
	switch {
	case r.Configured:
		fmt.Fprint(out, "\nThe configuration at hand verifies it. If Caddy refuses it, Caddy runs with another one: reload it, or restart it where\n"+
			"a secret in its environment has changed.\n")
	case r.Caddyfile == "":
		fmt.Fprint(out, "\nThat is the default: leave `signature` out of the global option axra.\n")
	default:
		fmt.Fprintf(out, "\nWrite into the Caddyfile, in place of any other `signature`:\n\n%s", r.Caddyfile)
	}
	if !r.Configured && len(r.Fits) > 1 {
		fmt.Fprint(out, "\nThese are the lines of the first one that fits.\n")
	}
}

// printCauses says what was looked at, and what may be wrong.
func (r inspection) printCauses(out io.Writer) {
	if len(r.Fits) > 0 {
		fmt.Fprint(out, "\nSee in Axra's settings whether webhooks can be signed otherwise, and please report it.\n")
		return
	}
	fmt.Fprint(out, "Nothing fits.\n\nWhat was looked at:\n")
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(table, "  schemes\t%s\n", strings.Join(webhook.Schemes, "  "))
	fmt.Fprintf(table, "  secrets\t%s; also decoded from hex and base64\n", strings.Join(r.Secrets, ", "))
	fmt.Fprintf(table, "  headers that could carry a signature\t%s\n", listed(r.Looked.Signatures))
	fmt.Fprintf(table, "  headers that could be a time\t%s\n", listed(r.Looked.Timestamps))
	if len(r.Looked.Repeated) > 0 {
		fmt.Fprintf(table, "  headers that occur more than once, and so are refused\t%s\n", listed(r.Looked.Repeated))
	}
	if len(r.Masked) > 0 {
		fmt.Fprintf(table, "  headers that are masked, and could not be tried\t%s\n", listed(r.Masked))
	}
	table.Flush() //nolint:errcheck // the terminal is gone
	fmt.Fprintf(out, "\nLikely causes:\n%s", strings.Join(r.causes(), ""))
}

func (r inspection) causes() []string {
	if len(r.Looked.Signatures)+len(r.Looked.Repeated) == 0 {
		return []string{
			"- It is not from Axra: anybody can send requests to a webhook's address.\n",
			"- A proxy in front of Caddy, or the tool that saved it, has left the signature header out.\n",
		}
	}
	return []string{
		"- It was signed with another secret: compare with the one in Axra, and mind test and live.\n",
		"- The body was changed on its way, by a proxy that decodes or reformats it, or when it was saved.\n",
		"- It is not from Axra: anybody can send requests to a webhook's address.\n",
		"- Axra signs in another way: please report the names of the headers.\n",
	}
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// missing says what follows where a field is not found.
func (r inspection) missing(field string) string {
	follows := ""
	switch {
	case field == "timestamp":
		follows = ": it counts from when it arrives, which is well unless it is sent again much later"
	case !r.Event.Event.Completes():
	case field == "amount", field == "currency":
		follows = ": the payment opens nothing, for it may be too little"
	case field == "session id":
		follows = ": the payment opens nothing"
	case field == "metadata":
		follows = ": the payment counts as another program's, and opens nothing"
	case field == "payment id":
		follows = ": the purchase is known by its session alone, and a refund must name that"
	}
	return "not found" + follows
}

// printEvent helps to confirm the names of fields, which Axra's documentation leaves
// open.
func (r inspection) printEvent(out io.Writer) {
	if r.Event == nil {
		fmt.Fprintf(out, "\nThe body is not an event that can be read: %s\n", clean(r.EventError))
		return
	}
	documented := ""
	if !r.Event.Documented {
		documented = ", which Axra does not document"
	}
	is := "The event is"
	if len(r.Fits) == 0 {
		is = "Whoever has sent it, it says that it is"
	}
	fmt.Fprintf(out, "\n%s %s%s", is, clean(string(r.Event.Event)), documented)
	for _, id := range []struct{ name, value string }{{"session", r.Event.Session}, {"payment", r.Event.Payment}} {
		if id.value != "" {
			fmt.Fprintf(out, ", %s %s", id.name, clean(id.value))
		}
	}
	fmt.Fprint(out, ". Its fields:\n")
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, field := range r.Event.Fields {
		where := r.missing(field.Name)
		if len(field.Found) > 0 {
			where = strings.Join(field.Found, ", ")
		}
		fmt.Fprintf(table, "  %s\t%s\n", field.Name, where)
	}
	others := make([]string, 0, len(r.Event.Others))
	for _, name := range r.Event.Others {
		others = append(others, clean(name))
	}
	fmt.Fprintf(table, "  others, which are not read\t%s\n", listed(others))
	table.Flush() //nolint:errcheck // the terminal is gone
}
