package routing

import (
	"fmt"

	"github.com/coulomb/artifact-store/pkg/registry/placement"
)

// name says which rule this is in a sentence.
func (r *Rule) name() string {
	if r.Policy == "" {
		return "the implicit rule (no policy, one backend)"
	}
	return fmt.Sprintf("rule %d of policy %q", r.Index, r.Policy)
}

// explain says what becomes of a request that the rule takes.
func (c *compiled) explain(r *Rule, req placement.Request) placement.Explanation {
	e := placement.Explanation{Request: req, Policy: r.Policy, Rule: r.Index, Considered: make([]placement.Considered, 0, len(r.Backends))}
	for _, name := range r.Backends {
		considered, b := placement.Considered{Backend: name}, c.named(name)
		switch {
		case b == nil || !takes(b):
			considered.Reason = passedOver(b)
		case e.Backend != "":
			considered.Reason = fmt.Sprintf("could take it, but %q stands before it", e.Backend)
		default:
			considered.Taken, considered.Reason = true, "the first ready backend of the rule"
			e.Backend, e.BackendID = b.Name, b.ID
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

// passedOver says why a backend takes nothing; nil is one that is not declared.
func passedOver(b *placement.Backend) string {
	switch {
	case b == nil:
		return "no such backend is declared"
	case b.ReadOnly:
		return "read-only by declaration"
	case b.Reason != "" && b.Message != "":
		return "not ready: " + b.Reason + ": " + b.Message
	case b.Reason != "":
		return "not ready: " + b.Reason
	case b.Ready:
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
