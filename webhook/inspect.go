package webhook

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Report says how a captured webhook is signed and what its event holds, by the names of fields only.
type Report struct {
	Type       Type     `json:"event,omitempty"`
	Documented bool     `json:"documented"`
	Session    string   `json:"session,omitempty"`
	Payment    string   `json:"payment,omitempty"`
	Fields     []string `json:"fields,omitempty"`
	EventError string   `json:"event_error,omitempty"` // why the body is not an event
	Signatures []string `json:"signature_headers"`
	Timestamps []string `json:"timestamp_headers"`
	Advice     string   `json:"advice"`
	Fits       []Fit    `json:"fits"`
}

// Fit is a way of signing that matches a captured request.
type Fit struct {
	Options []string `json:"options"` // of a `signature` block
	Secret  int      `json:"secret"`  // which of the secrets, from 1
}

// What to do.
const (
	adviceNone = "nothing fits: it was signed with another secret (test or live?) or in a way that this version cannot verify, a proxy " +
		"has changed the body or removed the signature, or it is not from Axra: anyone can send requests to a webhook's address"
	adviceFit = "write the options of a fit, one per line, into the block `signature` of the global option axra, in place of any other"
	adviceOK  = "the configuration verifies it: replay it, unless Axra sends it again"
)

// Inspect tries every scheme with every header that could fit and every secret, and the configured verifier.
func Inspect(request Captured, secrets [][]byte, configured Verifier) Report {
	report := Report{Advice: adviceNone, Fits: []Fit{}}
	for _, v := range report.verifiers(request.Header) {
		if fit, ok := try(v, request, secrets); ok {
			report.Fits = append(report.Fits, fit)
			report.Advice = adviceFit
		}
	}
	if configured.Verify(request.Header, request.Body) == nil {
		report.Advice = adviceOK
	}
	event, err := Decode(request.Body)
	if err != nil {
		report.EventError = err.Error()
		return report
	}
	report.Type, report.Documented = event.Type, event.Type.Known()
	report.Session, report.Payment = ShortID(event.Session), ShortID(event.Payment)
	report.Fields = appendFields(nil, request.Body, "", 0)
	return report
}

// maxTried bounds the headers of each kind, as all are tried with all.
const maxTried = 8

// verifiers notes the headers that could take part in a signature, and returns all ways to combine them.
func (r *Report) verifiers(header http.Header) (all []Verifier) {
	var ids []string
	add := func(names *[]string, name string) {
		if len(*names) < maxTried {
			*names = append(*names, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		switch value := header.Get(name); {
		case !headerName.MatchString(name):
		case couldBeTimestamp(value):
			add(&r.Timestamps, name)
		case couldSign(name, value):
			add(&r.Signatures, name)
		case strings.HasSuffix(name, "-Id"):
			add(&ids, name)
		}
	}
	for _, header := range r.Signatures {
		all = append(all, Verifier{Scheme: SchemeBody, Header: header}, Verifier{Scheme: SchemeTimestampV1, Header: header})
		for _, timestamp := range r.Timestamps {
			all = append(all, Verifier{Scheme: SchemeTimestampBody, Header: header, TimestampHeader: timestamp})
			for _, id := range ids {
				all = append(all, Verifier{Scheme: SchemeStandard, Header: header, TimestampHeader: timestamp, IDHeader: id})
			}
		}
	}
	return all
}

// try looks for a secret and its encoding that sign the request by the verifier's scheme.
func try(v Verifier, request Captured, secrets [][]byte) (Fit, bool) {
	for i, secret := range secrets {
		for _, encoding := range slices.Concat([]string{""}, SecretEncodings) {
			v.Secrets, v.SecretEncoding = [][]byte{secret}, encoding
			prepared, err := v.Prepare()
			if err == nil && prepared.Verify(request.Header, request.Body) == nil {
				return Fit{v.options(), i + 1}, true
			}
		}
	}
	return Fit{}, false
}

// options are the lines of a `signature` block.
func (v Verifier) options() (lines []string) {
	for _, option := range [][2]string{
		{"header", v.Header}, {"id_header", v.IDHeader}, {"scheme", v.Scheme}, {"secret_encoding", v.SecretEncoding}, {"timestamp_header", v.TimestampHeader},
	} {
		if option[1] != "" {
			lines = append(lines, option[0]+" "+option[1])
		}
	}
	return lines
}

// couldBeSigned reports whether a header could carry a signature.
func couldBeSigned(header http.Header) bool {
	for name, values := range header {
		if slices.ContainsFunc(values, func(value string) bool { return couldSign(name, value) }) {
			return true
		}
	}
	return false
}

// couldSign reports whether a header is called a signature or its value could be one.
func couldSign(name, value string) bool {
	isNamed := strings.Contains(strings.ToLower(name), "signature") && len(value) >= 20
	return !isCredential(name) && (isNamed || holdsMAC(value))
}

// couldBeTimestamp reports whether a value is a time: since 1970 in seconds or smaller units, or as ISO 8601 or HTTP
// write it.
func couldBeTimestamp(value string) bool {
	_, err := time.Parse(time.RFC3339, value)
	_, errHTTP := http.ParseTime(value)
	return err == nil || errHTTP == nil || isDigits(value) && len(value) >= 10 && len(value) <= 19
}

// holdsMAC reports whether a header has a value that is as long as an HMAC: of `t=1,v1=ab` or `v1,ab v1,cd`, too.
func holdsMAC(value string) bool { return len(value) <= maxSignature && macPattern.MatchString(value) }

// macPattern matches HMACs with SHA-1, SHA-256, SHA-384 and SHA-512, in hex or base64.
var macPattern = regexp.MustCompile(`(^|[=,; ])([0-9a-fA-F]{40}|[0-9a-fA-F]{96}|[0-9a-fA-F]{128}|` +
	`[\w+/-]{27}=?|[\w+/-]{43}=?|[\w+/-]{64}|[\w+/-]{86}={0,2})($|[,; ])`)

// headerName matches names that can be written into a Caddyfile.
var headerName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// appendFields adds the paths of an object's fields that are not null, but not those of the owner's metadata. Anybody
// may have sent them, so they are bounded.
func appendFields(paths []string, raw json.RawMessage, prefix string, depth int) []string {
	var object map[string]json.RawMessage
	if depth > 4 || json.Unmarshal(raw, &object) != nil {
		return paths
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		path := prefix + name
		isForeign := prefix == "data.metadata." && name != "sessionId"
		if isForeign || len(paths) >= 60 || len(name) > 64 || isNull(object[name]) {
			continue
		}
		paths = appendFields(append(paths, path), object[name], path+".", depth+1)
	}
	return paths
}
