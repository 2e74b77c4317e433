package sandbox

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// maxForm bounds what a form may post.
const maxForm = 64 << 10

func (s *Sandbox) checkoutRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /checkout/{id}", s.withSession(s.showCheckout))
	mux.HandleFunc("POST /checkout/{id}", s.withSession(s.submitCheckout))
	mux.HandleFunc("POST /checkout/{id}/cancel", s.withSession(s.cancelCheckout))
	mux.HandleFunc("GET /checkout/{id}/3ds", s.withSession(s.showChallenge))
	mux.HandleFunc("POST /checkout/{id}/3ds", s.withSession(s.submitChallenge))
}

// checkoutPage is what checkout.html and challenge.html show.
type checkoutPage struct {
	Session  Session
	Amount   string
	Query    string // carries the token from page to page
	Local    bool
	Cards    []testCard
	Declined string // what the bank said to the last attempt
	Form     checkoutForm
}

// Title is the page's, with the state first, as a screen reader announces it.
func (p checkoutPage) Title() string {
	if p.Declined != "" || p.Form.Invalid() {
		return "Error: pay " + p.Amount
	}
	return "Pay " + p.Amount
}

// checkoutForm is what the customer typed and what is wrong with it. Card data
// other than the number is never shown again.
type checkoutForm struct {
	Email, Number                                  string
	EmailError, NumberError, ExpiryError, CVVError string
}

// Invalid tells whether there is anything to correct.
func (f checkoutForm) Invalid() bool {
	return f.EmailError+f.NumberError+f.ExpiryError+f.CVVError != ""
}

// errNoChallenge says that the 3-D Secure question was answered already.
var errNoChallenge = fmt.Errorf("no 3-D Secure question is open: %w", ErrConflict)

type sessionHandler func(http.ResponseWriter, *http.Request, Session)

// withSession lets only those in who know the token of the checkout URL.
func (s *Sandbox) withSession(next sessionHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		sess, err := s.Session(r.PathValue("id"))
		if err != nil || !same(r.URL.Query().Get("token"), sess.Token) {
			s.render(w, http.StatusNotFound, pageNotice, notice{
				Title: "Checkout not found",
				Text:  "This address does not belong to a checkout session. It may be incomplete, or the session is long over.",
			})
			return
		}
		if sess.Status != StatusOpen {
			s.showEnded(w, sess)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		next(w, r, sess)
	}
}

// showEnded answers for a session that can no longer, or not now, be paid.
func (s *Sandbox) showEnded(w http.ResponseWriter, sess Session) {
	switch sess.Status {
	case StatusCompleted:
		s.render(w, http.StatusOK, pageNotice, notice{
			Title: "Already paid", Text: "This checkout has been paid. You are not charged again.",
			Link: sess.successRedirect(), LinkText: "Back to the merchant",
		})
	case StatusProcessing:
		s.render(w, http.StatusOK, pageNotice, notice{
			Title: "Payment under way", Text: "Your bank transfer or mobile money payment is being processed. There is no need to pay again.",
			Link: sess.successRedirect(), LinkText: "Back to the merchant",
		})
	default: // expired or cancelled
		// cancelUrl is for expired sessions as well. [payments/checkout-sessions]
		if sess.CancelURL != "" {
			redirect(w, sess.CancelURL)
			return
		}
		s.render(w, http.StatusGone, pageNotice, notice{
			Title: "Checkout closed", Text: "The time for this checkout is over. Nothing was charged. Please start again at the merchant's site.",
		})
	}
}

func newCheckoutPage(sess Session) checkoutPage {
	return checkoutPage{
		Session: sess,
		Amount:  displayAmount(sess.Amount, sess.Currency),
		Query:   "?token=" + sess.Token,
		Local:   isLocal(sess.Currency),
		Cards:   testCards(),
		Form:    checkoutForm{Email: sess.CustomerEmail},
	}
}

func (s *Sandbox) showCheckout(w http.ResponseWriter, r *http.Request, sess Session) {
	s.render(w, http.StatusOK, pageCheckout, newCheckoutPage(sess))
}

func (s *Sandbox) submitCheckout(w http.ResponseWriter, r *http.Request, sess Session) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	local := r.PostForm.Get("method") == "local"
	form := s.readForm(r, local)
	if form.Invalid() {
		p := newCheckoutPage(sess)
		p.Form = form
		s.render(w, http.StatusUnprocessableEntity, pageCheckout, p)
		return
	}
	s.finishCheckout(w, sess, form, func(rec *session) (Outcome, error) {
		rec.CustomerEmail = or(form.Email, rec.CustomerEmail)
		if local {
			return s.payLocally(rec)
		}
		return s.payByCard(rec, cardDigits(form.Number)), nil
	})
}

// readForm checks what was typed; a local payment needs no card.
func (s *Sandbox) readForm(r *http.Request, local bool) checkoutForm {
	form := checkoutForm{
		Email:  strings.TrimSpace(r.PostForm.Get("email")),
		Number: strings.TrimSpace(r.PostForm.Get("number")),
	}
	if form.Email != "" && checkEmail(form.Email) != nil {
		form.EmailError = "Enter an e-mail address such as name@example.com, or none."
	}
	if local {
		return form
	}
	if !numberPattern.MatchString(cardDigits(form.Number)) {
		form.NumberError = "Enter the card number, 12 to 19 digits."
	}
	form.ExpiryError = expiryProblem(r.PostForm.Get("expiry"), s.now())
	if !cvvPattern.MatchString(r.PostForm.Get("cvv")) {
		form.CVVError = "Enter the 3 or 4 digits of the security code."
	}
	return form
}

// finishCheckout pays, unless somebody else ended the session meanwhile, and
// shows the customer what came of it.
func (s *Sandbox) finishCheckout(w http.ResponseWriter, sess Session, form checkoutForm, pay func(*session) (Outcome, error)) {
	out, err := s.payOnce(sess.ID, pay)
	if errors.Is(err, ErrConflict) {
		s.showLatest(w, sess)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch out.Status {
	case OutcomeChallenge:
		redirect(w, "/checkout/"+sess.ID+"/3ds?token="+sess.Token)
	case OutcomeDeclined:
		p := newCheckoutPage(sess)
		p.Form, p.Declined = form, out.Message
		s.render(w, http.StatusPaymentRequired, pageCheckout, p)
	default:
		redirect(w, out.Redirect)
	}
}

// payOnce holds the lock from the check to the charge: two clicks at once pay once.
func (s *Sandbox) payOnce(id string, pay func(*session) (Outcome, error)) (Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, err := s.payable(id)
	if err != nil {
		return Outcome{}, err
	}
	return pay(rec)
}

// showLatest shows a session that changed while its form was on the way.
func (s *Sandbox) showLatest(w http.ResponseWriter, sess Session) {
	if latest, err := s.Session(sess.ID); err == nil {
		sess = latest
	}
	if sess.Status == StatusOpen { // only its 3-D Secure question is gone
		redirect(w, "/checkout/"+sess.ID+"?token="+sess.Token)
		return
	}
	s.showEnded(w, sess)
}

func (s *Sandbox) cancelCheckout(w http.ResponseWriter, r *http.Request, sess Session) {
	target, err := s.CancelSession(sess.ID)
	switch {
	case err != nil:
		s.showLatest(w, sess)
	case target != "":
		redirect(w, target)
	default:
		s.render(w, http.StatusOK, pageNotice, notice{Title: "Payment cancelled", Text: "Nothing was charged. You can close this page."})
	}
}

func (s *Sandbox) showChallenge(w http.ResponseWriter, r *http.Request, sess Session) {
	if sess.Challenge == "" {
		redirect(w, "/checkout/"+sess.ID+"?token="+sess.Token)
		return
	}
	s.render(w, http.StatusOK, pageChallenge, newCheckoutPage(sess))
}

func (s *Sandbox) submitChallenge(w http.ResponseWriter, r *http.Request, sess Session) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	approve := r.PostForm.Get("answer") == "approve"
	form := checkoutForm{Email: sess.CustomerEmail}
	s.finishCheckout(w, sess, form, func(rec *session) (Outcome, error) {
		if rec.Challenge == "" {
			return Outcome{}, errNoChallenge
		}
		return s.answerChallenge(rec, approve), nil
	})
}
