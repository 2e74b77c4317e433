package checkout_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	claimPage   = "Continue in this browser?"
	claimButton = "I have paid: continue here"
	notYet      = "cannot be used here yet"
)

// formID is the id of the device that a form of now makes.
func (s *shop) formID() string {
	return "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + strconv.FormatInt(s.now().Unix(), 10)
}

// claim comes back from another browser's checkout, and presses the button.
func (v *visitor) claim(back string) reply {
	v.s.t.Helper()
	page := v.open(back)
	page.wantPage(http.StatusPaymentRequired, claimPage)
	return v.submit(page, claimButton, navigation)
}

func TestAnotherBrowserTakesThePurchaseOver(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(claim))
	v, bank := s.visitor(), s.visitor()
	id := v.start(article + "?x=1")
	bank.claim(s.pay(id)).wantRedirect(article + "?x=1")
	bank.open(article).wantPaid()
	v.browse(article).wantPaid() // the browser that started it has paid, although another has taken it over
	s.pass(time.Minute)
	bank.open(article).wantPaid()
	owner := s.visitor()
	owner.buy(article).wantPaid()
	own := owner.do(http.MethodPost, s.back(id)+"&axra_device_id="+s.formID(), http.Header{"Origin": {origin}})
	own.wantRefused(http.StatusSeeOther) // who has access takes nothing over
	s.refund(id)
	bank.open(article).wantRefused(http.StatusPaymentRequired)
}

// S3: a purchase is taken over once, by one browser, and only if it was sold so. S4: it opens what was sold.
func TestS3S4NoOtherBrowserTakesAPurchaseOver(t *testing.T) {
	t.Parallel()
	dear := newGateConfig("/dear/*", []product{sold("dear", "500")}, claim)
	for name, prepare := range map[string]func(s *shop, v *visitor) (back string){
		"who comes second": func(s *shop, v *visitor) string {
			back := s.pay(v.start(article))
			s.visitor().claim(back).wantRedirect(article)
			return back
		},
		"what its own browser has taken": func(s *shop, v *visitor) string {
			back := s.pay(v.start(article))
			v.browse(back).wantPaid()
			return back
		},
		"an old payment": func(s *shop, v *visitor) string {
			back := s.pay(v.start(article))
			s.pass(8 * day)
			return back
		},
		"what was not sold so": func(s *shop, v *visitor) string {
			s.configure(member())
			back := s.pay(v.start(article))
			s.visitor().open(back).wantPage(http.StatusForbidden, "started in another browser")
			s.visitor().do(http.MethodPost, back+"&axra_device_id="+s.formID(), navigation).
				wantPage(http.StatusForbidden, "started in another browser")
			s.configure(member(claim))
			return back
		},
		"what a program has bought": func(s *shop, _ *visitor) string {
			id := s.startedByProgram(article).Session
			s.visitor().open(s.pay(id)).wantPage(http.StatusOK, "Return to your program")
			return article + "?axra_session=" + id
		},
		"another page": func(s *shop, v *visitor) string {
			s.configure(member(claim, keyed))
			id := v.start(number(1))
			s.pay(id)
			return number(2) + "?axra_session=" + id
		},
		"a dearer product": func(s *shop, v *visitor) string {
			id := v.start(article)
			s.pay(id)
			return "/dear/article.html?axra_session=" + id
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, member(claim), dear)
			friend, back := s.visitor(), prepare(s, s.visitor())
			friend.claim(back).wantPage(http.StatusPaymentRequired, notYet)
			friend.open(back).wantRefused(http.StatusPaymentRequired)
		})
	}
}

func TestS3ManyTakeOverAtOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(claim))
	back := s.pay(s.visitor().start(article))
	var together sync.WaitGroup
	var in atomic.Int32
	for range 32 {
		friend := s.visitor()
		together.Go(func() {
			if friend.claim(back).status == http.StatusSeeOther {
				in.Add(1)
			}
		})
	}
	together.Wait()
	if in.Load() != 1 {
		t.Errorf("%d of 32 browsers are let in", in.Load())
	}
}

// S1, S2: whatever the id, the pages are the same, and nothing is looked up at Axra or stored.
func TestS1S2NoBrowserTakesOverWhatIsNotPaid(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(claim))
	v, outsider := s.visitor(), s.visitor()
	unpaid := v.start(article)
	answers := map[string]bool{}
	for _, id := range []string{
		unpaid, "cs_AAAAAAAAAAAAAAAAAAAAAAAAAA", "{SESSION_ID}", "../../keyring.json", strings.Repeat("A", 12<<10), "cs_\x00", " ", "", unpaid + "#1",
	} {
		target := article + "?axra_session=" + url.QueryEscape(id)
		page := outsider.open(target)
		page.wantPage(http.StatusPaymentRequired, claimPage)
		answer := outsider.do(http.MethodPost, target+"&axra_device_id="+s.formID(), navigation)
		answer.wantRefused(http.StatusPaymentRequired)
		for _, body := range []string{page.body, answer.body} {
			answers[regexp.MustCompile(`action="[^"]*"`).ReplaceAllString(body, "")] = true
		}
	}
	if len(answers) != 2 { // one before, one after the button
		t.Errorf("S2: %d different answers", len(answers))
	}
	s.wantCreated(1)
	form := outsider.open(article + "?axra_session=" + unpaid)
	later := outsider.submit(form, claimButton, navigation)
	later.wantPage(http.StatusPaymentRequired, notYet)
	s.pay(unpaid)
	outsider.submit(later, "Try again", navigation).wantRedirect(article) // as soon as it is paid
}

// S3: the address of a form is good for one device, for a moment, and from this site.
func TestS3AFormIsNotAsGoodAsItsDevice(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(claim))
	post := s.pay(s.visitor().start(article)) + "&axra_device_id=" + s.formID()
	s.visitor().do(http.MethodPost, post, http.Header{"Sec-Fetch-Site": {"cross-site"}}).wantRefused(http.StatusForbidden)
	s.visitor().do(http.MethodPost, post, http.Header{"Origin": {"https://evil.example"}}).wantRefused(http.StatusForbidden)
	s.visitor().do(http.MethodPost, post, navigation).wantRedirect(article)
	s.pass(11 * time.Minute)
	s.visitor().do(http.MethodPost, post, navigation).wantPage(http.StatusPaymentRequired, claimPage)
}

func TestD2AClaimWhileTheLedgerFails(t *testing.T) {
	t.Parallel()
	s := newShop(t, member(claim))
	bank := s.visitor()
	form := bank.open(s.pay(s.visitor().start(article)))
	s.breakLedger()
	bank.submit(form, claimButton, navigation).wantPage(http.StatusServiceUnavailable, "Your payment is safe")
	s.mendLedger()
	bank.submit(form, claimButton, navigation).wantRedirect(article)
}
