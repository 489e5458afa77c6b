package routing

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// index finds the first rule of a list that matches a request. It checks only the
// few rules whose patterns can match the producer's name: checking 2,000 rules one
// by one takes 20 to 100 µs.
//
// A rule that names a producer is found by that name. A rule with a glob is found
// by the letters that all its names begin or end with. Globs without such letters
// ("*x*") are tried one after the other. An index is immutable.
type index struct {
	every  byClass // rules for all producers
	exact  map[string]*byClass
	prefix anchored
	suffix anchored
}

// none comes after every rule.
const none int32 = math.MaxInt32

// byClass holds the number of the first rule for each retention class.
type byClass struct {
	any   int32 // the first rule for every class, or none
	named map[string]int32
}

// first returns the first rule for a class, or none.
func (c *byClass) first(class string) int32 {
	if named, ok := c.named[class]; ok && named < c.any {
		return named
	}
	return c.any
}

// least returns the first rule for any class.
func (c *byClass) least() int32 {
	least := c.any
	for _, rule := range c.named {
		least = min(least, rule)
	}
	return least
}

// add adds a rule after all rules added before.
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

// anchored holds globs by their anchor: the letters that every matching name
// begins (or ends) with.
type anchored struct {
	lengths []int // of the anchors, ascending
	globs   map[string][]anchoredGlob
}

type anchoredGlob struct {
	glob  Glob
	least int32 // the lowest rule number; the globs of one anchor are in this order
	rules *byClass
}

// maxAnchor bounds the anchors looked up for one name; the glob itself checks
// the letters after it.
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

// earliest returns the first rule among the globs that match, if it comes before best.
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
