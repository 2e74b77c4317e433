package webhook

import (
	"encoding/hex"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Fit is a way of signing that matches a captured request.
type Fit struct {
	Scheme          string `json:"scheme"`
	Header          string `json:"header"`
	TimestampHeader string `json:"timestamp_header,omitempty"`
	IDHeader        string `json:"id_header,omitempty"`
	SecretEncoding  string `json:"secret_encoding,omitempty"`
	Secret          int    `json:"secret"`         // which of the secrets, from 1
	Body            string `json:"body,omitempty"` // how the body differs from the captured one
}

// Options are the lines of a `signature` block that make a Verifier check the fit.
func (f Fit) Options() []string {
	lines := []string{"header " + f.Header, "scheme " + f.Scheme}
	for name, value := range map[string]string{
		"timestamp_header": f.TimestampHeader, "id_header": f.IDHeader, "secret_encoding": f.SecretEncoding,
	} {
		if value != "" {
			lines = append(lines, name+" "+value)
		}
	}
	slices.Sort(lines)
	return lines
}

// Looked lists the headers of a request that could take part in a signature.
type Looked struct {
	Signatures []string `json:"signature_headers"`
	Timestamps []string `json:"timestamp_headers"`
	Masked     []string `json:"masked_headers"` // whose values were not kept
	ids        []string
}

// maxTried bounds the headers of each kind, as all are tried with all.
const maxTried = 8

func lookAt(header http.Header) Looked {
	looked := Looked{Signatures: []string{}, Timestamps: []string{}, Masked: []string{}}
	add := func(names *[]string, name string) {
		if len(*names) < maxTried {
			*names = append(*names, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		switch value := header.Get(name); {
		case !headerName.MatchString(name):
		case value == masked, value == maskedSecret:
			add(&looked.Masked, name)
		case couldBeTimestamp(value):
			add(&looked.Timestamps, name)
		case couldSign(name, value):
			add(&looked.Signatures, name)
		case strings.HasSuffix(name, "-Id"):
			add(&looked.ids, name)
		}
	}
	return looked
}

// Inspect tries every scheme with every header that could fit, every variant of the body and every secret.
func Inspect(request Captured, secrets [][]byte) ([]Fit, Looked) {
	looked := lookAt(request.Header)
	for _, body := range request.Bodies() {
		var fits []Fit
		for _, v := range looked.verifiers() {
			if fit, ok := try(v, request.Header, body.Bytes, secrets); ok {
				fit.Body = body.Note
				fits = append(fits, fit)
			}
		}
		if len(fits) > 0 {
			return fits, looked
		}
	}
	return []Fit{}, looked
}

func (l Looked) verifiers() []Verifier {
	var all []Verifier
	for _, header := range l.Signatures {
		all = append(all, Verifier{Scheme: SchemeBody, Header: header}, Verifier{Scheme: SchemeTimestampV1, Header: header})
		for _, timestamp := range l.Timestamps {
			all = append(all, Verifier{Scheme: SchemeTimestampBody, Header: header, TimestampHeader: timestamp})
			for _, id := range l.ids {
				all = append(all, Verifier{Scheme: SchemeStandard, Header: header, TimestampHeader: timestamp, IDHeader: id})
			}
		}
	}
	return all
}

// try looks for a secret and its encoding that sign the request by the verifier's scheme.
func try(v Verifier, header http.Header, body []byte, secrets [][]byte) (Fit, bool) {
	for i, secret := range secrets {
		for _, encoding := range slices.Concat([]string{""}, SecretEncodings) {
			v.Secrets, v.SecretEncoding = [][]byte{secret}, encoding
			prepared, err := v.Prepare()
			if err == nil && prepared.Verify(header, body) == nil {
				return Fit{v.Scheme, v.Header, v.TimestampHeader, v.IDHeader, encoding, i + 1, ""}, true
			}
		}
	}
	return Fit{}, false
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
	isNamed := strings.Contains(strings.ToLower(name), "signature") && len(value) >= macSizes[0]
	return !isCredential(name) && (isNamed || holdsMAC(value))
}

// couldBeTimestamp reports whether a value is a time: since 1970 in seconds or smaller units, or as ISO 8601 or HTTP
// write it.
func couldBeTimestamp(value string) bool {
	_, err := time.Parse(time.RFC3339, value)
	_, errHTTP := http.ParseTime(value)
	return err == nil || errHTTP == nil || isDigits(value) && len(value) >= 10 && len(value) <= 19
}

// holdsMAC reports whether a header has a value that is as long as an HMAC.
func holdsMAC(value string) bool {
	parts := strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(",; ", r) }) // of `t=1,v1=ab` or `v1,ab v1,cd`
	return len(value) <= maxSignature && slices.ContainsFunc(parts, func(part string) bool {
		_, afterName, _ := strings.Cut(part, "=")
		for _, text := range []string{part, afterName} {
			fromHex, errHex := hex.DecodeString(text)
			fromBase64, errBase64 := decodeBase64(text)
			if errHex == nil && slices.Contains(macSizes, len(fromHex)) || errBase64 == nil && slices.Contains(macSizes, len(fromBase64)) {
				return true
			}
		}
		return false
	})
}

// macSizes are those of HMACs with SHA-1, SHA-256, SHA-384 and SHA-512.
var macSizes = []int{20, 32, 48, 64}

// headerName matches names that can be written into a Caddyfile.
var headerName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
