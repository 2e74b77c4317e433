package webhook

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // to name what others sign with; nothing is trusted for it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
)

// Fit is a way of signing that produces what a captured request carries.
type Fit struct {
	// Known says that a Verifier can be told to check it so.
	Known bool `json:"known"`
	// Algorithm is such as HMAC-SHA256; empty where a header holds the secret itself.
	Algorithm string `json:"algorithm,omitempty"`
	// Scheme is one of Schemes, or says in words what is signed.
	Scheme          string `json:"scheme,omitempty"`
	Header          string `json:"header"`
	TimestampHeader string `json:"timestamp_header,omitempty"`
	IDHeader        string `json:"id_header,omitempty"`
	SecretEncoding  string `json:"secret_encoding,omitempty"`
	// Secret and Body are indices into what was tried.
	Secret int `json:"-"`
	Body   int `json:"-"`
}

// Option is a line of the `signature` block.
type Option struct{ Name, Value string }

// Options are those of the `signature` block that make a Verifier check the fit;
// none where the defaults do.
func (f Fit) Options() []Option {
	defaults, err := Verifier{Scheme: f.Scheme}.Prepare()
	if err != nil || !f.Known {
		return nil
	}
	var options []Option
	for _, option := range []struct{ name, value, standard string }{
		{"header", f.Header, defaults.Header},
		{"scheme", f.Scheme, Schemes[0]},
		{"timestamp_header", f.TimestampHeader, defaults.TimestampHeader},
		{"id_header", f.IDHeader, defaults.IDHeader},
		{"secret_encoding", f.SecretEncoding, ""},
	} {
		if option.value != "" && !strings.EqualFold(option.value, option.standard) {
			options = append(options, Option{option.name, option.value})
		}
	}
	return options
}

// Looked is what there was to try.
type Looked struct {
	Signatures []string `json:"signature_headers"` // those that could carry one
	Timestamps []string `json:"timestamp_headers"`
	Repeated   []string `json:"repeated_headers,omitempty"` // which are refused
}

// maxTried bounds the headers of each kind that are tried, for all are tried with all.
const maxTried = 12

// Inspect tries every scheme with every header that could fit, every reading of the
// body and every secret. Known fits come first, and among them the defaults. Of the
// readings of the body, the first that fits is taken.
func Inspect(header http.Header, bodies []Body, secrets [][]byte) ([]Fit, Looked) {
	search := newSearch(header, secrets)
	for i, body := range bodies {
		if fits := search.known(body.Bytes, i); len(fits) > 0 {
			return fits, search.looked
		}
	}
	for i, body := range bodies {
		if fits := search.foreign(body.Bytes, i); len(fits) > 0 {
			return fits, search.looked
		}
	}
	return search.plainSecrets(), search.looked
}

// search is an inspection of one request.
type search struct {
	header  http.Header
	secrets [][]byte
	ids     []string // headers that could be the id of a message
	looked  Looked
}

func newSearch(header http.Header, secrets [][]byte) *search {
	s := &search{header: header, secrets: secrets, looked: Looked{Signatures: []string{}, Timestamps: []string{}}}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		values := header[name]
		switch {
		case !isHeaderName(name) || len(values) == 0:
		case len(values) > 1 && couldSign(name, values):
			s.looked.Repeated = append(s.looked.Repeated, name)
		case couldBeTimestamp(values):
			s.looked.Timestamps = append(s.looked.Timestamps, name)
		case couldSign(name, values):
			s.looked.Signatures = append(s.looked.Signatures, name)
		}
		if len(values) == 1 && len(values[0]) <= maxMessageID && isPlain(values[0]) {
			s.ids = append(s.ids, name)
		}
	}
	// Of many, those whose names say what they are.
	s.looked.Signatures = likeliest(s.looked.Signatures, "signature", "hmac", "hash", "sign")
	s.looked.Timestamps = likeliest(s.looked.Timestamps, "timestamp", "time", "date")
	s.ids = likeliest(s.ids, "webhook-id", "-id")
	return s
}

// likeliest sorts names that hold one of the words to the front, and bounds them.
func likeliest(names []string, words ...string) []string {
	rank := func(name string) int {
		for i, word := range words {
			if strings.Contains(strings.ToLower(name), word) {
				return i
			}
		}
		return len(words)
	}
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	return names[:min(len(names), maxTried)]
}

// known returns what a Verifier can be told to check: it is asked itself, so that
// what is found will also verify.
func (s *search) known(body []byte, number int) []Fit {
	var fits []Fit
	for _, verifier := range s.verifiers() {
		if fit, ok := s.try(verifier, body); ok {
			fit.Body = number
			fits = append(fits, fit)
		}
	}
	sort.SliceStable(fits, func(i, j int) bool { return len(fits[i].Options()) < len(fits[j].Options()) })
	return fits
}

func (s *search) verifiers() []Verifier {
	var all []Verifier
	for _, header := range s.looked.Signatures {
		all = append(all, Verifier{Scheme: SchemeBody, Header: header}, Verifier{Scheme: SchemeTimestampV1, Header: header})
		for _, timestamp := range s.looked.Timestamps {
			all = append(all, Verifier{Scheme: SchemeTimestampBody, Header: header, TimestampHeader: timestamp})
			for _, id := range s.ids {
				all = append(all, Verifier{Scheme: SchemeStandard, Header: header, TimestampHeader: timestamp, IDHeader: id})
			}
		}
	}
	// What does not even read is not worth a computation for each secret.
	return slices.DeleteFunc(all, func(v Verifier) bool {
		_, err := v.read(s.header)
		return err != nil
	})
}

// try looks for the secret, and for the way in which it is written.
func (s *search) try(v Verifier, body []byte) (Fit, bool) {
	for i, secret := range s.secrets {
		for _, encoding := range slices.Concat([]string{""}, SecretEncodings) {
			v.Secrets, v.SecretEncoding = [][]byte{secret}, encoding
			prepared, err := v.Prepare()
			if err == nil && prepared.Verify(s.header, body) == nil {
				return Fit{
					Known: true, Algorithm: "HMAC-SHA256", Scheme: v.Scheme, Header: v.Header, TimestampHeader: v.TimestampHeader,
					IDHeader: v.IDHeader, SecretEncoding: encoding, Secret: i,
				}, true
			}
		}
	}
	return Fit{}, false
}

// algorithms are those that others sign with.
var algorithms = []struct {
	name string
	hash func() hash.Hash
}{
	{"HMAC-SHA256", sha256.New}, {"HMAC-SHA512", sha512.New}, {"HMAC-SHA384", sha512.New384}, {"HMAC-SHA1", sha1.New},
}

// message is something that may have been signed.
type message struct {
	words, timestampHeader, prefix string
}

// foreign looks for ways of signing that a Verifier does not know, to be able to
// name them.
func (s *search) foreign(body []byte, number int) []Fit {
	var fits []Fit
	for _, header := range s.looked.Signatures {
		given := possibleMACs(s.header[header][0])
		for _, message := range s.messages(header) {
			fit, ok := s.tryForeign(given, message, body)
			if ok {
				fit.Header, fit.Body = header, number
				fits = append(fits, fit)
			}
		}
	}
	return fits
}

func (s *search) tryForeign(given [][]byte, signed message, body []byte) (Fit, bool) {
	for i, secret := range s.secrets {
		for _, encoding := range slices.Concat([]string{""}, SecretEncodings) {
			key, ok := decodeSecret(string(secret), encoding)
			if !ok || len(key) == 0 {
				continue
			}
			for _, algorithm := range algorithms {
				mac := hmac.New(algorithm.hash, key)
				mac.Write([]byte(signed.prefix))
				mac.Write(body)
				sum := mac.Sum(nil)
				if slices.ContainsFunc(given, func(mac []byte) bool { return hmac.Equal(mac, sum) }) {
					return Fit{
						Algorithm: algorithm.name, Scheme: signed.words, TimestampHeader: signed.timestampHeader, SecretEncoding: encoding, Secret: i,
					}, true
				}
			}
		}
	}
	return Fit{}, false
}

// messages are the body by itself and behind each time, in the ways of joining them
// that are in use.
func (s *search) messages(header string) []message {
	all := []message{{words: "the body"}}
	join := func(where, name, value string) {
		all = append(all,
			message{"the " + where + ", a dot and the body", name, value + "."},
			message{"the " + where + ", a colon and the body", name, value + ":"},
			message{"the " + where + " and the body", name, value})
	}
	for _, name := range s.looked.Timestamps {
		join("timestamp header", name, s.header[name][0])
	}
	for name, value := range pairs(s.header[header][0]) {
		if (name == "t" || name == "ts") && len(value) <= maxTimestamp {
			join("time within the header", "", value)
		}
	}
	for _, name := range s.ids[:min(len(s.ids), 3)] {
		for _, timestamp := range s.looked.Timestamps[:min(len(s.looked.Timestamps), 3)] {
			all = append(all, message{"the header " + name + ", the timestamp header and the body, with dots between", timestamp, s.header[name][0] + "." + s.header[timestamp][0] + "."})
		}
	}
	return all
}

// plainSecrets finds headers that hold the secret itself, as some providers send it.
func (s *search) plainSecrets() []Fit {
	var fits []Fit
	for _, name := range slices.Sorted(maps.Keys(s.header)) {
		for _, value := range s.header[name] {
			i := slices.IndexFunc(s.secrets, func(secret []byte) bool { return hmac.Equal(secret, []byte(value)) })
			if value == maskedSecret {
				i = 0
			}
			if i >= 0 && len(s.secrets) > 0 && isHeaderName(name) {
				fits = append(fits, Fit{Scheme: "the secret itself", Header: name, Secret: i})
			}
		}
	}
	return fits
}

// couldBeSigned reports whether a header could carry a signature, be it under the
// name that the verifier knows or under another.
func (v Verifier) couldBeSigned(header http.Header) bool {
	return len(possibleMACs(header.Get(v.Header))) > 0 || couldBeSigned(header)
}

func couldBeSigned(header http.Header) bool {
	for name, values := range header {
		if couldSign(name, values) {
			return true
		}
	}
	return false
}

// couldSign reports whether a header is called a signature or its value could be one.
func couldSign(name string, values []string) bool {
	if isPrivate(name) {
		return false
	}
	name = strings.ToLower(name)
	for _, value := range values {
		switch {
		case value == "" || value == masked || len(value) > maxKeptHeader:
		case len(possibleMACs(value)) > 0, len(value) >= sha1.Size && (strings.Contains(name, "signature") || strings.Contains(name, "hmac")):
			return true
		}
	}
	return false
}

// couldBeTimestamp reports whether a header holds a time: in seconds or smaller units
// since 1970, or as ISO 8601 or HTTP write it.
func couldBeTimestamp(values []string) bool {
	if len(values) != 1 || len(values[0]) > maxTimestamp {
		return false
	}
	value := values[0]
	if isDigits(value) {
		return len(value) >= 10 && len(value) <= 19
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", http.TimeFormat, time.RFC1123Z} {
		if _, err := time.Parse(layout, value); err == nil {
			return true
		}
	}
	return false
}

// pairs yields the parts of a value such as `t=1,v1=ab` or `v1,ab v1,cd`.
func pairs(value string) func(yield func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		for _, part := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ';' || r == ' ' }) {
			name, given, found := strings.Cut(part, "=")
			if !found || strings.Trim(given, "=") == "" { // an equals sign may be the padding of base64
				name, given = "", part
			}
			if !yield(name, given) {
				return
			}
		}
	}
}

// possibleMACs are the values in a header that are as long as an HMAC.
func possibleMACs(value string) [][]byte {
	var all [][]byte
	add := func(raw []byte, err error) {
		long := []int{sha1.Size, sha256.Size, sha512.Size384, sha512.Size}
		if err == nil && slices.Contains(long, len(raw)) && len(all) < 2*maxCandidates {
			all = append(all, raw)
		}
	}
	if len(value) > maxSignature {
		return nil
	}
	for _, given := range pairs(value) {
		raw, err := hex.DecodeString(given)
		add(raw, err)
		raw, err = decodeBase64(given)
		add(raw, err)
	}
	return all
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// isHeaderName reports whether a name can be written into a Caddyfile and shown as it
// is.
func isHeaderName(name string) bool { return len(name) <= 64 && headerName.MatchString(name) }
