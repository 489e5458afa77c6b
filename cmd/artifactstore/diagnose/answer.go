package diagnose

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/coulomb/artifact-store/pkg/client"
)

// skew is how much two clocks may differ before it is worth a word.
const skew = time.Minute

// explainAnswer explains an answer that says no, or that is not a registry's.
func (p Place) explainAnswer(ctx context.Context, err error, answer *client.RemoteError, address *url.URL) error {
	foreign := answer.Type == "" && answer.RequestID == ""
	switch {
	case foreign && answer.Status == http.StatusProxyAuthRequired:
		return &explainedError{p.proxyWantsCredentials(address), err}
	case foreign && answer.Status == http.StatusBadRequest && address.Scheme == "http" && speaksTLS(ctx, address):
		return &explainedError{p.useHTTPS(address), err}
	case foreign && answer.Location != "":
		return &explainedError{fmt.Sprintf("%s answered %d and leads to %s: a page to log in or another server stands before the registry; ask whoever runs it for the address of its API", p.where(), answer.Status, withoutQuery(answer.Location)), err}
	case foreign && answer.ContentType == "text/html":
		return &explainedError{fmt.Sprintf("%s answered %d with a web page (text/html): this is not the API of a registry, or a proxy answers in its place; check host, port and path", p.where(), answer.Status), err}
	case foreign && answer.Status < http.StatusInternalServerError && answer.Status != http.StatusTooManyRequests && answer.Status != http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w; the answer of %s is not that of a registry: check host, port and path", err, p.where())
	case answer.Status == http.StatusUnauthorized:
		return p.explainToken(err, answer)
	}
	return err
}

// withoutQuery leaves out what may have secrets in it.
func withoutQuery(location string) string {
	parsed, err := url.Parse(location)
	if err != nil {
		return "another address"
	}
	parsed.RawQuery, parsed.Fragment, parsed.User = "", "", nil
	return parsed.String()
}

// explainToken says why a token was refused, as far as the token says it.
func (p Place) explainToken(err error, answer *client.RemoteError) error {
	renew := ""
	if p.Renew != "" {
		renew = ": " + p.Renew + " gets another"
	}
	now := p.Now()
	switch {
	case p.TokenFrom == "":
		return fmt.Errorf("%w; set --token-file, ARTIFACTSTORE_TOKEN_FILE or ARTIFACTSTORE_TOKEN, or run artifactstore login", err)
	case p.Token != nil && !p.Token.Expires.IsZero() && now.After(p.Token.Expires):
		return fmt.Errorf("the token (%s) expired at %s, %s ago%s: %w", p.TokenFrom, moment(p.Token.Expires), roughly(now.Sub(p.Token.Expires)), renew, err)
	case p.Token != nil && now.Before(p.Token.Begins.Add(-skew)):
		return fmt.Errorf("the token (%s) is not valid before %s, and the clock of this machine says %s: set the clock if it is wrong: %w", p.TokenFrom, moment(p.Token.Begins), moment(now), err)
	case p.Token != nil && !answer.Date.IsZero() && now.Sub(answer.Date).Abs() > skew:
		return fmt.Errorf("the clocks of this machine (%s) and of the registry (%s) differ, so that the token (%s) may not be valid there: %w", moment(now), moment(answer.Date), p.TokenFrom, err)
	}
	return fmt.Errorf("%s does not accept the token (%s)%s: %w", p.where(), p.TokenFrom, renew, err)
}

// roughly is a duration in its largest unit, as people say it.
func roughly(d time.Duration) string {
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "days"}, {time.Hour, "hours"}, {time.Minute, "minutes"}} {
		if d >= 2*unit.size {
			return fmt.Sprintf("%d %s", d/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%d seconds", d/time.Second)
}
