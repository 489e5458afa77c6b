package routing

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// index finds the first rule of a list that matches a request. It looks at the
// few rules whose patterns can describe the producer's name, not at all of
// them: a list of 2,000 rules would cost 20 to 100 µs from end to end.
//
// Rules that name a producer are found by its name, those with a glob by the
// letters with which all names that it describes begin or end. Globs that have
// neither ("*x*") are tried one after the other. It is made once and never changed.
type index struct {
	every  byClass // rules for all producers
	exact  map[string]*byClass
	prefix anchored
	suffix anchored
}

// none is behind every rule.
const none int32 = math.MaxInt32

// byClass holds the first rule for each retention class, by its number in the list.
type byClass struct {
	any   int32 // that takes every class; or none
	named map[string]int32
}

// first returns the first rule for a class, or none.
func (c *byClass) first(class string) int32 {
	if named, ok := c.named[class]; ok && named < c.any {
		return named
	}
	return c.any
}

// least returns the first rule for whatever class.
func (c *byClass) least() int32 {
	least := c.any
	for _, rule := range c.named {
		least = min(least, rule)
	}
	return least
}

// add takes up a rule behind all that were added before.
func (c *byClass) add(rule int32, classes []string) {
	if len(classes) == 0 {
		c.any = min(c.any, rule)
	}
	for _, class := range classes {
		if _, earlier := c.named[class]; earlier {
			continue
		}
		if c.named == nil {
			c.named = map[string]int32{}
		}
		c.named[class] = rule
	}
}

// anchored are globs by their anchor: the letters with which every name that
// they describe begins (or ends).
type anchored struct {
	lengths []int // of the anchors, ascending
	globs   map[string][]anchoredGlob
}

type anchoredGlob struct {
	glob  Glob
	least int32 // of rules; the globs of one anchor stand in this order
	rules *byClass
}

// maxAnchor bounds how many anchors are looked up for one name; letters behind
// it are left to the glob itself.
const maxAnchor = 32

func newIndex(rules []Rule) *index {
	x := &index{every: byClass{any: none}, exact: map[string]*byClass{}}
	globs := map[string]*byClass{}
	for i, rule := range rules {
		if everything(rule.Producers) {
			x.every.add(int32(i), rule.RetentionClasses)
			continue
		}
		for _, pattern := range rule.Producers {
			found := x.exact
			if strings.ContainsAny(pattern, "*?") {
				found = globs
			}
			if found[pattern] == nil {
				found[pattern] = &byClass{any: none}
			}
			found[pattern].add(int32(i), rule.RetentionClasses)
		}
	}
	for pattern, rules := range globs {
		head, tail := Glob(pattern).ends()
		side, anchor := &x.prefix, head[:min(len(head), maxAnchor)]
		if len(tail) > len(head) {
			side, anchor = &x.suffix, tail[max(0, len(tail)-maxAnchor):]
		}
		if side.globs == nil {
			side.globs = map[string][]anchoredGlob{}
		}
		side.globs[anchor] = append(side.globs[anchor], anchoredGlob{Glob(pattern), rules.least(), rules})
	}
	for _, side := range []*anchored{&x.prefix, &x.suffix} {
		for anchor, globs := range side.globs {
			slices.SortFunc(globs, func(a, b anchoredGlob) int { return cmp.Compare(a.least, b.least) })
			if at, found := slices.BinarySearch(side.lengths, len(anchor)); !found {
				side.lengths = slices.Insert(side.lengths, at, len(anchor))
			}
		}
	}
	return x
}

// find returns the number of the first rule that matches, or none. It does not allocate.
func (x *index) find(producer, class string) int32 {
	best := x.every.first(class)
	if rules, ok := x.exact[producer]; ok {
		best = min(best, rules.first(class))
	}
	for _, n := range x.prefix.lengths {
		if n > len(producer) {
			break
		}
		best = earliest(x.prefix.globs[producer[:n]], producer, class, best)
	}
	for _, n := range x.suffix.lengths {
		if n > len(producer) {
			break
		}
		best = earliest(x.suffix.globs[producer[len(producer)-n:]], producer, class, best)
	}
	return best
}

// earliest returns the first rule of the globs that match, if it stands before best.
func earliest(globs []anchoredGlob, producer, class string, best int32) int32 {
	for i := range globs {
		g := &globs[i]
		if g.least >= best {
			break
		}
		if first := g.rules.first(class); first < best && g.glob.Match(producer) {
			best = first
		}
	}
	return best
}
