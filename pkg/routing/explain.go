package routing

import (
	"fmt"

	"github.com/coulomb/artifact-store/pkg/registry/placement"
)

// name says which rule this is in a sentence.
func (r *compiledRule) name() string {
	if r.policy == "" {
		return "the implicit rule (no policy, one backend)"
	}
	return fmt.Sprintf("rule %d of policy %q", r.index, r.policy)
}

func (r *compiledRule) explain(req placement.Request) placement.Explanation {
	e := placement.Explanation{Request: req, Policy: r.policy, Rule: r.index, Considered: make([]placement.Considered, 0, len(r.backends))}
	for _, b := range r.backends {
		considered := placement.Considered{Backend: b.Name}
		switch {
		case e.Backend != "" && b.known && b.takes():
			considered.Reason = fmt.Sprintf("could take it, but %q stands before it", e.Backend)
		case b.known && b.takes():
			considered.Taken, considered.Reason = true, "the first ready backend of the rule"
			e.Backend, e.BackendID = b.Name, b.ID
		default:
			considered.Reason = b.passedOver()
		}
		e.Considered = append(e.Considered, considered)
	}
	switch {
	case e.Backend != "":
		e.Reason = fmt.Sprintf("%s sends it to %q", r.name(), e.Backend)
	case len(e.Considered) == 0:
		e.Reason = fmt.Sprintf("%s matches and names no backend", r.name())
	default:
		first := e.Considered[0]
		e.Reason = fmt.Sprintf("%s matches, and none of its %d backends can take it; %q: %s", r.name(), len(e.Considered), first.Backend, first.Reason)
	}
	return e
}

// passedOver says why a backend takes nothing.
func (c candidate) passedOver() string {
	switch {
	case !c.known:
		return "no such backend is declared"
	case c.ReadOnly:
		return "read-only by declaration"
	case c.Reason != "" && c.Message != "":
		return "not ready: " + c.Reason + ": " + c.Message
	case c.Reason != "":
		return "not ready: " + c.Reason
	case c.Ready:
		return "not ready: it could not be opened here"
	default:
		return "not ready"
	}
}

// unmatched says why no rule takes a request.
func (c *compiled) unmatched(req placement.Request) string {
	switch {
	case len(c.rules) > 0:
		return fmt.Sprintf("none of the %d rules matches producer %q with retention class %q", len(c.rules), req.Producer, req.RetentionClass)
	case len(c.backends) == 0:
		return "no backend is declared"
	default:
		return fmt.Sprintf("%d backends are declared and no policy says which one takes it", len(c.backends))
	}
}
