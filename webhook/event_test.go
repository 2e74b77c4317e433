package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/caddy-axra/paywall/money"
)

func paid(t testing.TB, amount, currency string) money.Price {
	t.Helper()
	price, err := money.ParsePaid(amount, currency)
	if err != nil {
		t.Fatal(err)
	}
	return price
}

// sameEvent compares events by what they say.
func sameEvent(a, b Event) bool {
	if !a.Timestamp.Equal(b.Timestamp) || !a.Paid.Equal(b.Paid) || (a.AmountError == nil) != (b.AmountError == nil) {
		return false
	}
	if b.PaidRaw == "" { // the table does not say
		b.PaidRaw = a.PaidRaw
	}
	a.Timestamp, a.Paid, a.AmountError = b.Timestamp, b.Paid, b.AmountError
	return reflect.DeepEqual(a, b)
}

// event is a documented event with the data.
func event(name Type, data string) []byte {
	return fmt.Appendf(nil, `{"event":%q,"timestamp":"2025-06-01T12:00:00Z","data":%s}`, string(name), data)
}

var stated = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

func TestDecodeReadsEveryDocumentedEvent(t *testing.T) {
	completes := map[Type]bool{PaymentCompleted: true, LinkSessionCompleted: true}
	names := []Type{
		"payment.completed", "payment_link.session.completed", "payment.failed", "payment.settled", "payment.refunded",
		"payment.disputed", "payment.dispute_won", "payment.dispute_lost", "collection.created",
		"collection.processing", "collection.completed", "collection.failed", "collection.expired",
	}
	if len(names) != len(known) {
		t.Errorf("%d events are known, %d are documented", len(known), len(names))
	}
	for _, name := range names {
		t.Run(string(name), func(t *testing.T) {
			got, err := Decode(event(name, `{"paymentId":"bpay_01H","amount":25.00,"currency":"USD","status":"x",
				"metadata":{"sessionId":"cs_1","paywall_pass":"premium"}}`))
			if err != nil {
				t.Fatal(err)
			}
			want := Event{
				Type: name, Timestamp: stated, Session: "cs_1", Payment: "bpay_01H", PaymentIDs: []string{"bpay_01H"}, Paid: paid(t, "25", "usd"),
				Metadata: map[string]string{"sessionId": "cs_1", "paywall_pass": "premium"},
			}
			if !sameEvent(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if !got.Type.Known() || got.Type.Completes() != completes[name] {
				t.Errorf("known %t, completes %t", got.Type.Known(), got.Type.Completes())
			}
		})
	}
}

func TestDecodeIsTolerantOfWhatTheDocumentationLeavesOpen(t *testing.T) {
	for _, test := range []struct {
		name string
		data string
		want Event // without type and timestamp
	}{
		{"nothing", `{}`, Event{}},
		{"unknown fields", `{"fee":{"amount":1},"customer":[1,2],"Status":"x"}`, Event{}},
		{"paymentId", `{"paymentId":"p"}`, Event{Payment: "p", PaymentIDs: []string{"p"}}},
		{"id", `{"id":"p"}`, Event{Payment: "p", PaymentIDs: []string{"p"}}},
		{"paymentId before id", `{"id":"i","paymentId":"p","transactionId":"t"}`, Event{Payment: "p", PaymentIDs: []string{"p", "i", "t"}}},
		{"FC2 a local rail", `{"id":"lcoll_1","businessPaymentId":"bp_1"}`, Event{Payment: "lcoll_1", PaymentIDs: []string{"lcoll_1", "bp_1"}}},
		{"one id twice", `{"id":"i","paymentId":"i"}`, Event{Payment: "i", PaymentIDs: []string{"i"}}},
		{"paymentId null", `{"paymentId":null,"id":"i"}`, Event{Payment: "i", PaymentIDs: []string{"i"}}},
		{"sessionId beside the metadata", `{"sessionId":"s"}`, Event{Session: "s"}},
		{"both sessionIds: the documented one", `{"sessionId":"top","metadata":{"sessionId":"inner"}}`,
			Event{Session: "inner", Metadata: map[string]string{"sessionId": "inner"}}},
		{"an empty sessionId in the metadata", `{"sessionId":"top","metadata":{"sessionId":""}}`,
			Event{Session: "top", Metadata: map[string]string{"sessionId": ""}}},
		{"a sessionId in the metadata that is no string", `{"sessionId":"top","metadata":{"sessionId":7}}`,
			Event{Session: "top", Metadata: map[string]string{}}},
		{"null ids", `{"sessionId":null,"paymentId":null,"id":null,"transactionId":null}`, Event{}},
		{"an escaped id", `{"paymentId":"bpay\u005f1"}`, Event{Payment: "bpay_1", PaymentIDs: []string{"bpay_1"}}},
		{"the longest id", `{"paymentId":"` + strings.Repeat("x", maxID) + `"}`, Event{Payment: strings.Repeat("x", maxID), PaymentIDs: []string{strings.Repeat("x", maxID)}}},

		{"W8 metadata missing", `{"sessionId":"s"}`, Event{Session: "s"}},
		{"W8 metadata null", `{"metadata":null}`, Event{}},
		{"W8 metadata a string", `{"metadata":"{\"sessionId\":\"s\"}"}`, Event{}},
		{"W8 metadata a list", `{"metadata":[{"sessionId":"s"}]}`, Event{}},
		{"W8 metadata a number", `{"metadata":17}`, Event{}},
		{"W8 metadata empty", `{"metadata":{}}`, Event{Metadata: map[string]string{}}},
		{"W8 metadata of other types than strings", `{"metadata":{"a":1,"b":null,"c":{"d":"e"},"f":["g"],"h":"i"}}`,
			Event{Metadata: map[string]string{"b": "", "h": "i"}}},
		{"names in the metadata that differ in case are two", `{"metadata":{"order":"1","Order":"2"}}`,
			Event{Metadata: map[string]string{"order": "1", "Order": "2"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Decode(event(PaymentRefunded, test.data))
			if err != nil {
				t.Fatal(err)
			}
			if got.AmountError == nil {
				t.Error("no amount, but no error about it")
			}
			test.want.Type, test.want.Timestamp, test.want.AmountError = PaymentRefunded, stated, got.AmountError
			if !sameEvent(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestDecodeReadsAmounts(t *testing.T) {
	for _, test := range []struct {
		name string
		data string
		want string // "": an AmountError
	}{
		{"an integer", `{"amount":25,"currency":"usd"}`, "25.00 USD"},
		{"a short exponent", `{"amount":2.5e1,"currency":"usd"}`, "25.00 USD"},
		{"a string", `{"amount":"25.00","currency":"usd"}`, "25.00 USD"},
		{"zero", `{"amount":0,"currency":"usd"}`, "0.00 USD"},
		{"more digits than a float keeps", `{"amount":999999999999.12345678,"currency":"usd"}`, "999999999999.12345678 USD"},
		{"what a float would round up", `{"amount":4.99999999,"currency":"usd"}`, "4.99999999 USD"},
		{"another currency", `{"amount":500,"currency":"NgN"}`, "500.00 NGN"},
		{"no real currency", `{"amount":500,"currency":"points"}`, "500.00 POINTS"},

		{"W9 no amount", `{"currency":"usd"}`, ""},
		{"W9 no currency", `{"amount":5}`, ""},
		{"W9 amount null", `{"amount":null,"currency":"usd"}`, ""},
		{"W9 currency null", `{"amount":5,"currency":null}`, ""},
		{"W9 a negative amount", `{"amount":-5,"currency":"usd"}`, ""},
		{"W9 a huge exponent", `{"amount":1e999999999,"currency":"usd"}`, ""},
		{"W9 a huge exponent in a string", `{"amount":"1e999999999","currency":"usd"}`, ""},
		{"W9 a megabyte of digits", `{"amount":` + strings.Repeat("9", 1<<20) + `,"currency":"usd"}`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Decode(event(PaymentCompleted, test.data))
			if err != nil {
				t.Fatal(err)
			}
			if test.want == "" {
				if got.AmountError == nil || got.Paid != (money.Price{}) {
					t.Errorf("read %s, %v", got.Paid, got.AmountError)
				}
				return
			}
			if got.AmountError != nil || got.Paid.String() != test.want {
				t.Errorf("read %s, %v, want %s", got.Paid, got.AmountError, test.want)
			}
		})
	}
}

func TestDecodeReadsTheEnvelope(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]time.Time{
		`{"event":"payment.completed","timestamp":"2025-06-01T12:00:00Z"}`:                        stated,
		`{"event":"payment.completed","timestamp":"2025-06-01T12:00:00.250Z"}`:                    stated.Add(250 * time.Millisecond),
		`{"event":"payment.completed","timestamp":"2025-06-01T14:00:00+02:00"}`:                   stated,
		`{"event":"payment.completed","timestamp":"yesterday"}`:                                   {},
		`{"event":"payment.completed","timestamp":"2025-06-01"}`:                                  {},
		`{"event":"payment.completed","timestamp":"2025-13-41T99:00:00Z"}`:                        {},
		`{"event":"payment.completed","timestamp":""}`:                                            {},
		`{"event":"payment.completed","timestamp":null,"data":null}`:                              {},
		`{"event":"payment.completed","data":{}}`:                                                 {},
		" \n{ \"event\" :\t\"payment.completed\" , \"data\" : { } }\r\n":                          {},
		`{"id":"evt_1","event":"payment.completed","apiVersion":2,"livemode":[true],"data":null}`: {},
	} {
		got, err := Decode([]byte(body))
		if err != nil || got.Type != PaymentCompleted || !got.Timestamp.Equal(want) || got.Session != "" || got.Payment != "" {
			t.Errorf("%s: got %+v, %v, want %s", body, got, err, want)
		}
	}
}

func TestW8AnUnknownEventIsReadWhateverItsDataIs(t *testing.T) {
	for _, data := range []string{
		`null`, `{}`, `[]`, `"text"`, `17`, `true`, `{"id":17}`, `{"amount":{"value":5,"currency":"usd"}}`,
		`{"id":"a","ID":"b"}`, `{"sessionId":"` + strings.Repeat("x", 2*maxID) + `"}`,
	} {
		got, err := Decode(event("payout.created", data))
		if err != nil {
			t.Errorf("%.40s: %v", data, err)
			continue
		}
		for _, name := range []Type{"Payment.Completed", " payment.completed", "payment.completed ", "payment.completed\x00", "payment_completed"} {
			if name.Known() || name.Completes() {
				t.Errorf("%q is known", string(name))
			}
		}
		if got.Type != "payout.created" || got.Type.Known() || got.Type.Completes() || got.Session != "" || got.Payment != "" {
			t.Errorf("%.40s: got %+v", data, got)
		}
	}
}

func TestW11MalformedBodiesAreRefused(t *testing.T) {
	good := string(event(PaymentCompleted, `{"amount":5,"currency":"usd","metadata":{"sessionId":"cs_1"}}`))
	for _, test := range []struct{ name, body string }{
		{"W11 nothing", ""},
		{"W11 HTML", "<html></html>"},
		{"W11 null", "null"},
		{"W11 a list", "[" + good + "]"},
		{"W11 a string", `"payment.completed"`},
		{"W11 an empty object", "{}"},
		{"W11 truncated by one", good[:len(good)-1]},
		{"W11 a comma too many", strings.Replace(good, "}}}", "}},}", 1)},
		{"W11 single quotes", strings.ReplaceAll(good, `"`, `'`)},

		{"W11 trailing word", good + "x"},
		{"W11 trailing NUL", good + "\x00"},
		{"W11 a second event", good + good},
		{"W4 a byte order mark", "\ufeff" + good},
		{"W11 UTF-16", "\xff\xfe{\x00}\x00"},

		{"W11 bad UTF-8 in an id", strings.Replace(good, "cs_1", "cs_\xff", 1)},
		{"W11 bad UTF-8 in an unknown field", strings.Replace(good, `"data"`, "\"x\":\"\xc3\x28\",\"data\"", 1)},
		{"W11 an overlong encoding", strings.Replace(good, "cs_1", "cs_\xc0\xaf", 1)},
		{"W11 a raw control character", strings.Replace(good, "cs_1", "cs_\x01", 1)},

		{"W11 deep lists", `{"event":"payment.completed","x":` + strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000) + `}`},
		{"W11 deep objects", `{"event":"payment.completed","x":` + strings.Repeat(`{"a":`, 12_000) + "1" + strings.Repeat("}", 12_000) + `}`},
		{"W11 deep lists in the data", string(event(PaymentCompleted, `{"x":`+strings.Repeat("[", 30_000)+strings.Repeat("]", 30_000)+`}`))},

		{"event missing", `{"data":{}}`},
		{"event null", `{"event":null}`},
		{"event a number", `{"event":1}`},
		{"event repeated", `{"event":"payment.failed","event":"payment.completed"}`},
		{"event repeated, escaped", `{"event":"payment.failed","\u0065vent":"payment.completed"}`},
		{"event in another case", `{"Event":"payment.completed"}`},
		{"event in two cases", `{"event":"payment.failed","EVENT":"payment.completed"}`},
		{"timestamp a number", `{"event":"payment.completed","timestamp":1748779200}`},
		{"data repeated", `{"event":"payment.completed","data":{},"data":{}}`},
		{"data in another case", `{"event":"payment.completed","Data":{}}`},
		{"data a string", string(event(PaymentCompleted, `"{}"`))},
		{"data a list", string(event(PaymentCompleted, `[{}]`))},
		{"amount repeated", string(event(PaymentCompleted, `{"amount":1,"amount":5}`))},
		{"amount in another case", string(event(PaymentCompleted, `{"amount":1,"Amount":5}`))},
		{"amount in letters that fold to it", string(event(PaymentCompleted, `{"ſessionId":"s"}`))},
		{"amount true", string(event(PaymentCompleted, `{"amount":true}`))},
		{"amount a word", string(event(PaymentCompleted, `{"amount":"five"}`))},
		{"amount NaN", string(event(PaymentCompleted, `{"amount":NaN}`))},
		{"currency repeated", string(event(PaymentCompleted, `{"currency":"usd","currency":"eur"}`))},
		{"currency a list", string(event(PaymentCompleted, `{"currency":["usd"]}`))},
		{"paymentId repeated", string(event(PaymentRefunded, `{"paymentId":"a","paymentId":"b"}`))},
		{"paymentId in another case", string(event(PaymentRefunded, `{"paymentID":"a"}`))},
		{"paymentId too long", string(event(PaymentRefunded, `{"paymentId":"`+strings.Repeat("x", maxID+1)+`"}`))},
		{"sessionId repeated", string(event(PaymentCompleted, `{"sessionId":"a","sessionId":"b"}`))},
		{"sessionId too long", string(event(PaymentCompleted, `{"sessionId":"`+strings.Repeat("x", maxID+1)+`"}`))},
		{"sessionId too long, in the metadata", string(event(PaymentCompleted, `{"metadata":{"sessionId":"`+strings.Repeat("x", maxID+1)+`"}}`))},
		{"metadata repeated", string(event(PaymentCompleted, `{"metadata":{"a":"1"},"metadata":{}}`))},
		{"metadata in another case", string(event(PaymentCompleted, `{"MetaData":{}}`))},
		{"a name in the metadata repeated", string(event(PaymentCompleted, `{"metadata":{"paywall_pass":"cheap","paywall_pass":"dear"}}`))},
		{"a name in the metadata repeated, escaped", string(event(PaymentCompleted, `{"metadata":{"paywall_pass":"cheap","paywall\u005fpass":"dear"}}`))},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Decode([]byte(test.body))
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("got %v, want %v", err, ErrMalformed)
			}
			if !reflect.DeepEqual(got, Event{}) {
				t.Errorf("an event %+v beside the error", got)
			}
		})
	}
}

// FuzzDecode: one body has one meaning, within bounds, or none.
func FuzzDecode(f *testing.F) {
	f.Add(event(PaymentCompleted, `{"paymentId":"bpay_1","amount":"5.00","currency":"USD","metadata":{"sessionId":"cs_1","n":1}}`))
	f.Add(event(PaymentRefunded, `{"id":"bpay_1","amount":1e999999999}`))
	f.Add(event("payout.created", `[1,2,3]`))
	f.Add([]byte(`{"event":"payment.completed","data":null,"\u0064ata":{}}`))
	f.Add([]byte(`{"event":"payment.completed","Data":{}}`))
	f.Add([]byte("\ufeff{}"))
	f.Add([]byte(`{"event":"x"}{}`))
	f.Add([]byte(strings.Repeat("[", 100)))
	f.Add([]byte("{\"event\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := Decode(body)
		again, errAgain := Decode(bytes.Clone(body))
		if (err == nil) != (errAgain == nil) || (err != nil && err.Error() != errAgain.Error()) || !sameEvent(got, again) {
			t.Fatalf("two readings: %+v, %v and %+v, %v", got, err, again, errAgain)
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) || !reflect.DeepEqual(got, Event{}) {
				t.Fatalf("got %+v, %v", got, err)
			}
			return
		}
		checkBounds(t, got)
		if !utf8.Valid(body) || !json.Valid(body) {
			t.Fatal("what is not JSON was read")
		}
		var strict map[string]json.RawMessage
		var name string
		if json.Unmarshal(body, &strict) != nil || json.Unmarshal(strict["event"], &name) != nil || name != string(got.Type) {
			t.Fatalf("encoding/json reads the event %q, Decode %q", name, got.Type)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, body); err != nil {
			t.Fatal(err)
		}
		if same, err := Decode(compact.Bytes()); err != nil || !sameEvent(got, same) {
			t.Fatalf("without whitespace: %+v, %v", same, err)
		}
		if _, err := Decode(append(compact.Bytes(), '1')); err == nil {
			t.Fatal("trailing data were not noticed")
		}
	})
}

func checkBounds(t *testing.T, e Event) {
	t.Helper()
	if e.Type == "" || len(e.Session) > maxID || len(e.Payment) > maxID {
		t.Fatalf("got %+v", e)
	}
	if e.Paid.Amount.Compare(money.Amount{}) < 0 || len(e.Paid.Digits()) > 40 {
		t.Fatalf("paid %s", e.Paid)
	}
	if e.AmountError != nil && e.Paid != (money.Price{}) {
		t.Fatalf("paid %s and %v", e.Paid, e.AmountError)
	}
}
