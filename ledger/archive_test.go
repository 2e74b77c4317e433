package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-axra/paywall/terms"
)

// folder is an Archive on the file system, as most sites have it.
type folder struct {
	*Archive
	path string
}

func newFolder(t testing.TB) folder {
	path := t.TempDir()
	return folder{NewArchive(&certmagic.FileStorage{Path: path}), path}
}

// files lists the records that lie in it.
// files lists the records, without the news, which belong to no purchase.
func (f folder) files(t testing.TB) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(f.path, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			short, _ := filepath.Rel(f.path, path)
			if short = filepath.ToSlash(short); !strings.HasPrefix(short, newsFolder) {
				found = append(found, short)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// sold is a payment of a session, of its own payment id.
func sold(t testing.TB, session string, at time.Time, access terms.Access) Fact {
	fact := paidFact(t, session, "bpay_"+session)
	fact.At, fact.Terms.Access = at, access
	return fact
}

func sessionsOf(t *testing.T, archive *Archive, filter Filter) (sessions []string, troubles int) {
	t.Helper()
	err := archive.Purchases(t.Context(), filter, func(grant Grant) error {
		sessions = append(sessions, grant.Session)
		return nil
	}, func(error) { troubles++ })
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(sessions)
	return sessions, troubles
}

func TestPurchasesAreListed(t *testing.T) {
	archive := newFolder(t)
	other := sold(t, "cs_other", paidAt.Add(day), terms.Forever)
	other.Terms.Pass, other.Terms.Site = "other", "https://example.org"
	mustRecord(t, archive.Ledger, sold(t, "cs_a", paidAt, terms.Forever), sold(t, "cs_b", paidAt.Add(2*day), terms.Forever), other)
	given, err := archive.Give(t.Context(), Fact{At: paidAt.Add(3 * day), Terms: soldTerms(t)})
	if err != nil {
		t.Fatal(err)
	}
	// What a killed process leaves behind is no record.
	shard := filepath.Dir(filepath.Join(archive.path, filepath.FromSlash(key(Paid, "cs_a"))))
	if err := os.WriteFile(filepath.Join(shard, ".tmp-123"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	garbled := filepath.Join(archive.path, filepath.FromSlash(key(Paid, "cs_garbled")))
	if err := os.MkdirAll(filepath.Dir(garbled), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(garbled, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		filter Filter
		want   []string
	}{
		{"all", Filter{}, []string{"cs_a", "cs_b", "cs_other", given}},
		{"of a pass", Filter{Pass: "other"}, []string{"cs_other"}},
		{"of a site", Filter{Site: "https://example.com"}, []string{"cs_a", "cs_b", given}},
		{"from a time on", Filter{From: paidAt.Add(day)}, []string{"cs_b", "cs_other", given}},
		{"before a time", Filter{To: paidAt.Add(day)}, []string{"cs_a"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, troubles := sessionsOf(t, archive.Archive, test.filter)
			if !slices.Equal(got, test.want) || troubles != 1 {
				t.Errorf("got %v, want %v; %d troubles, want 1", got, test.want, troubles)
			}
		})
	}
}

func TestADossierHoldsAllThatIsKnown(t *testing.T) {
	archive := newFolder(t)
	mustRecord(t, archive.Ledger, paidFact(t, theSession, payment1), extensionFact(t), outcomeFact(Disputed, "", payment1), outcomeFact(DisputeWon, "", payment1))
	mustDecide(t, archive.Ledger, theSession, Revoked)
	for _, kind := range []Kind{Device, Fetch, Claimed} {
		if _, err := archive.Take(t.Context(), kind, theSession, 3, "holder", paidAt); err != nil {
			t.Fatal(err)
		}
	}
	session, err := archive.SessionOf(t.Context(), payment1)
	if err != nil || session != theSession {
		t.Fatalf("%q, %v", session, err)
	}
	for _, session := range []string{theSession, theExtension} {
		file, err := archive.Dossier(t.Context(), session)
		if err != nil {
			t.Fatal(err)
		}
		if file.Session != theSession || file.ClosedFor != Revoked || len(file.Parts) != 2 || len(file.Events) != 2 ||
			len(file.Decisions) != 1 || len(file.Devices) != 1 || file.Fetches != 1 || file.Claimed == nil {
			t.Errorf("of %s: %+v", session, file)
		}
	}
	if _, err := archive.Dossier(t.Context(), "cs_unknown"); !errors.Is(err, ErrNotPaid) {
		t.Errorf("%v", err)
	}
}

// filled is a ledger with purchases of every fate, at a time when keep is over for some.
func filled(t *testing.T, archive *Archive) (now time.Time, kept []string) {
	t.Helper()
	now = paidAt.Add(DefaultKeep + 100*day)
	month := terms.Access(30 * day)
	extension := extensionFact(t) // of theSession, for as long again
	late := sold(t, "cs_late_extension", paidAt.Add(20*day), terms.Access(200*day))
	late.Terms.Extends, late.Terms.From = "cs_extended", paidAt.Add(30*day)
	mustRecord(t, archive.Ledger,
		paidFact(t, theSession, payment1), extension,
		sold(t, "cs_refunded", paidAt, month), outcomeFact(Refunded, "cs_refunded", "bpay_cs_refunded"),
		sold(t, "cs_disputed", paidAt, month), outcomeFact(Disputed, "", "bpay_cs_disputed"),
		sold(t, "cs_extended", paidAt, month), late,
		sold(t, "cs_recent", now.Add(-40*day), month),
		sold(t, "cs_forever", paidAt, terms.Forever),
		sold(t, "cs_forever_refunded", paidAt, terms.Forever), outcomeFact(Refunded, "cs_forever_refunded", ""),
		Fact{Kind: Mismatch, Session: "cs_mismatch", At: paidAt, Terms: soldTerms(t), Paid: price(t, "1.00")},
		outcomeFact(Refunded, "", "bpay_of_nobody"), outcomeFact(Disputed, "cs_of_nobody", ""),
	)
	for _, session := range []string{theSession, "cs_recent"} {
		for range 3 {
			for _, kind := range []Kind{Device, Fetch} {
				if _, err := archive.Take(t.Context(), kind, session, 5, fmt.Sprint(time.Now().UnixNano()), paidAt); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	mustDecide(t, archive.Ledger, theSession, Revoked, Restored)
	if _, err := archive.Give(t.Context(), Fact{At: paidAt, Terms: soldTerms(t)}); err != nil {
		t.Fatal(err)
	}
	return now, []string{"cs_extended", "cs_forever", "cs_forever_refunded", "cs_late_extension", "cs_recent"}
}

func TestTheSweepDeletesWhatHasEnded(t *testing.T) {
	archive := newFolder(t)
	now, want := filled(t, archive.Archive)
	swept, err := archive.Sweep(t.Context(), now, DefaultKeep)
	if err != nil {
		t.Fatal(err)
	}
	if kept, _ := sessionsOf(t, archive.Archive, Filter{}); !slices.Equal(kept, want) || swept.Kept != len(want) {
		t.Errorf("kept %v, want %v; %+v", kept, want, swept)
	}
	if grant := mustGrant(t, archive.Ledger, "cs_forever_refunded"); grant.ClosedFor != Refunded {
		t.Errorf("the refund of an endless purchase is forgotten: %+v", grant)
	}
	// What is left is all about what is kept: 2 records of each payment, and 2 of the
	// extension, 2 of the refund and 6 places.
	if left := archive.files(t); len(left) != 2*len(want)+2+2+6 {
		t.Errorf("%d records are left:\n%s", len(left), strings.Join(left, "\n"))
	}
	again, err := archive.Sweep(t.Context(), now, DefaultKeep)
	if err != nil || again.Deleted != 0 {
		t.Errorf("a second sweep: %+v, %v", again, err)
	}
}

// faultyShelf fails after a number of deletions.
type faultyShelf struct {
	Shelf
	left int
}

var errPulled = errors.New("the plug was pulled")

func (s *faultyShelf) Delete(ctx context.Context, key string) error {
	if s.left--; s.left < 0 {
		return errPulled
	}
	return s.Shelf.Delete(ctx, key)
}

func TestASweepThatIsInterruptedOpensNothing(t *testing.T) {
	complete := newFolder(t)
	now, _ := filled(t, complete.Archive)
	total, err := complete.Sweep(t.Context(), now, DefaultKeep)
	if err != nil || total.Deleted < 30 {
		t.Fatalf("%+v, %v", total, err)
	}
	want := len(complete.files(t))
	for stop := range total.Deleted {
		archive := newFolder(t)
		filled(t, archive.Archive)
		shelf := &faultyShelf{Shelf: archive.shelf, left: stop}
		if _, err := NewArchive(shelf).Sweep(t.Context(), now, DefaultKeep); !errors.Is(err, errPulled) {
			t.Fatalf("after %d: %v", stop, err)
		}
		for _, session := range []string{"cs_refunded", "cs_disputed"} {
			grant, err := archive.Grant(t.Context(), session)
			if err == nil && grant.ClosedFor == "" || err != nil && !errors.Is(err, ErrNotPaid) {
				t.Fatalf("after %d deletions %s is %+v, %v", stop, session, grant, err)
			}
		}
		if _, err := archive.Sweep(t.Context(), now, DefaultKeep); err != nil {
			t.Fatal(err)
		}
		if left := len(archive.files(t)); left != want {
			t.Fatalf("after a sweep that stopped after %d, the next leaves %d records, want %d", stop, left, want)
		}
	}
}

func TestTheSweepKeepsForAWhile(t *testing.T) {
	archive := newFolder(t)
	if _, err := archive.Sweep(t.Context(), paidAt, MinKeep-1); err == nil {
		t.Error("records that events may still be about would go")
	}
}

func TestNothingButARecordIsDeleted(t *testing.T) {
	archive := newFolder(t)
	mustRecord(t, archive.Ledger, paidFact(t, theSession, payment1))
	whole := key(Paid, theSession)
	for _, bad := range []string{"", "axra", root, "axra/ledger/paid", whole[:len(whole)-1], whole + "/x", "axra/keyring.json", "../" + whole, strings.TrimPrefix(whole, root)} {
		if err := archive.remove(t.Context(), bad); err == nil {
			t.Errorf("%q was deleted", bad)
		}
	}
	if len(archive.files(t)) != 2 {
		t.Error("a record is gone")
	}
}

func exported(t *testing.T, archive *Archive) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := archive.Export(t.Context(), &out, "installation", paidAt); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAnExportIsImportedAsItWas(t *testing.T) {
	from, into := newFolder(t), newFolder(t)
	filled(t, from.Archive)
	export := exported(t, from.Archive)
	done, err := into.Import(t.Context(), bytes.NewReader(export))
	if err != nil || done.Installation != "installation" || done.Known != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	for _, name := range from.files(t) {
		was, _ := os.ReadFile(filepath.Join(from.path, name))
		is, err := os.ReadFile(filepath.Join(into.path, name))
		if err != nil || !bytes.Equal(was, is) {
			t.Errorf("%s was %s and is %s, %v", name, was, is, err)
		}
	}
	again, err := into.Import(t.Context(), bytes.NewReader(export))
	if err != nil || again.Records != 0 || again.Known != done.Records {
		t.Errorf("imported twice: %+v, %v", again, err)
	}
}

func TestAnImportLeavesAloneWhatIsThere(t *testing.T) {
	from, into := newFolder(t), newFolder(t)
	mustRecord(t, from.Ledger, paidFact(t, theSession, payment1))
	dear := paidFact(t, theSession, payment1)
	dear.Paid = price(t, "50.00")
	mustRecord(t, into.Ledger, dear)
	if _, err := into.Import(t.Context(), bytes.NewReader(exported(t, from.Archive))); err != nil {
		t.Fatal(err)
	}
	if grant := mustGrant(t, into.Ledger, theSession); !grant.Paid.Equal(dear.Paid) {
		t.Errorf("paid %s", grant.Paid)
	}
}

func TestHalfAnImportOpensNothingThatIsClosed(t *testing.T) {
	from := newFolder(t)
	filled(t, from.Archive)
	lines := bytes.SplitAfter(exported(t, from.Archive), []byte("\n"))
	for cut := range len(lines) - 1 {
		into := newFolder(t)
		if _, err := into.Import(t.Context(), bytes.NewReader(bytes.Join(lines[:cut], nil))); !errors.Is(err, ErrTransfer) {
			t.Fatalf("%d lines: %v", cut, err)
		}
		for _, session := range []string{"cs_refunded", "cs_disputed", "cs_forever_refunded"} {
			if grant, err := into.Grant(t.Context(), session); err == nil && grant.ClosedFor == "" {
				t.Fatalf("after %d lines %s is open", cut, session)
			}
		}
	}
}

func TestWhatIsNoExportIsNotImported(t *testing.T) {
	from := newFolder(t)
	mustRecord(t, from.Ledger, paidFact(t, theSession, payment1))
	good := string(exported(t, from.Archive))
	head, rest, _ := strings.Cut(good, "\n")
	for name, bad := range map[string]string{
		"empty":               "",
		"another file":        "{}\n" + rest,
		"a later version":     strings.Replace(head, `"v":1`, `"v":2`, 1) + "\n" + rest,
		"cut off":             strings.TrimSpace(good)[:len(good)-40],
		"changed":             strings.Replace(good, `"amount":"5"`, `"amount":"6"`, 1),
		"of another session":  strings.Replace(good, theSession, "cs_2", 1),
		"under another key":   strings.Replace(good, "paid/"+key(Paid, theSession)[len(root+"paid/"):], "paid/"+key(Paid, "cs_2")[len(root+"paid/"):], 1),
		"outside the ledger":  strings.Replace(good, `"key":"paid/`, `"key":"../paid/`, 1),
		"of an unknown kind":  strings.ReplaceAll(good, `"key":"paid/`, `"key":"paint/`),
		"a record is missing": head + "\n" + rest[strings.Index(rest, "\n")+1:],
	} {
		into := newFolder(t)
		if _, err := into.Import(t.Context(), strings.NewReader(bad)); !errors.Is(err, ErrTransfer) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheReportAddsUp(t *testing.T) {
	archive := newFolder(t)
	euro := sold(t, "cs_euro", paidAt, terms.Forever)
	euro.Paid.Currency, euro.Terms.Price.Currency = "eur", "eur"
	late := outcomeFact(Refunded, "", "bpay_cs_b")
	late.At = paidAt.Add(40 * day)
	mustRecord(t, archive.Ledger,
		sold(t, "cs_a", paidAt, terms.Forever), sold(t, "cs_b", paidAt.Add(day), terms.Forever), late, euro,
		sold(t, "cs_before", paidAt.Add(-day), terms.Forever), outcomeFact(Disputed, "cs_before", ""), outcomeFact(DisputeLost, "cs_before", ""),
		Fact{Kind: Mismatch, Session: "cs_mismatch", At: paidAt, Terms: soldTerms(t), Paid: price(t, "1.00")})
	if _, err := archive.Give(t.Context(), Fact{At: paidAt, Terms: soldTerms(t)}); err != nil {
		t.Fatal(err)
	}
	say := func(from, to time.Time) string {
		report, err := archive.Report(t.Context(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		said := fmt.Sprintf("unfitting %d", report.Unfitting)
		for _, l := range report.Lines {
			said += fmt.Sprintf("; %s %s: sales %d %s, refunds %d %s, disputes %d %s, lost %d %s, net %s", l.Pass, l.Currency,
				l.Sales.Count, l.Sales.Amount, l.Refunds.Count, l.Refunds.Amount, l.Disputes.Count, l.Disputes.Amount,
				l.DisputesLost.Count, l.DisputesLost.Amount, l.Net)
		}
		return said
	}
	want := "unfitting 1; premium eur: sales 1 5, refunds 0 0, disputes 0 0, lost 0 0, net 5; " +
		"premium usd: sales 2 10, refunds 0 0, disputes 1 5, lost 1 5, net 5"
	if got := say(paidAt, paidAt.Add(30*day)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	want = "unfitting 0; premium usd: sales 0 0, refunds 1 5, disputes 0 0, lost 0 0, net -5"
	if got := say(paidAt.Add(30*day), paidAt.Add(60*day)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzImport(f *testing.F) {
	from := newFolder(f)
	if _, err := from.Record(f.Context(), paidFact(f, theSession, payment1)); err != nil {
		f.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := from.Export(f.Context(), &out, "installation", paidAt); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Add([]byte(`{"export":"axra-ledger","v":1}` + "\n" + `{"end":true}`))
	f.Fuzz(func(t *testing.T, export []byte) {
		into := newFolder(t)
		done, err := into.Import(t.Context(), bytes.NewReader(export))
		if err != nil && done.Records == 0 && len(into.files(t)) > 0 {
			t.Errorf("records were written though %v", err)
		}
		for _, name := range into.files(t) {
			if !keyForm().MatchString(name) {
				t.Errorf("%s is no record", name)
			}
		}
	})
}
