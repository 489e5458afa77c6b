package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coulomb/artifact-store/pkg/registry"
)

type eventOptions struct {
	registry.EventQuery
	follow, all bool
	named       string // producer/name or producer/name@version
}

// verified is the kind of what verifications found right: by far the most events.
const verified = "v1.storage.location_verified"

func (a *app) eventsCommand() *cobra.Command {
	var (
		o            eventOptions
		since, until when
	)
	command := &cobra.Command{
		Use:   "events",
		Short: "Print the event log, one event per line",
		Long: `Print the event log, one event per line. What verifications found right is left
out, unless it is asked for by --all or --kind.`,
		Example: "  artifactstore events --producer ci --since 24h\n  artifactstore events --kind v1.storage --follow",
		Args:    cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error {
			o.Since, o.Until = since.at, until.at
			return a.events(ctx, o)
		}),
	}
	flags := command.Flags()
	flags.Uint64Var(&o.After, "after", 0, "only events after this position")
	flags.BoolVar(&o.follow, "follow", false, "keep printing new events until interrupted")
	flags.BoolVar(&o.all, "all", false, "also what verifications found right")
	flags.StringSliceVar(&o.Kinds, "kind", nil, "only events of these kinds: v1.package.published, or\nv1.storage for all that begin so; may be repeated")
	flags.StringVar(&o.Producer, "producer", "", "only events about packages of this producer")
	flags.StringVar(&o.named, "package", "", "only events about this package: PRODUCER/NAME or\nPRODUCER/NAME@VERSION")
	flags.StringVar(&o.Actor, "actor", "", "only events that they caused")
	flags.Var(&since, "since", "only events then or later: a time, a day\n(2026-01-31), or how long ago (24h, 7d)")
	flags.Var(&until, "until", "only events before")
	command.PreRunE = func(*cobra.Command, []string) error {
		if flags.Changed("kind") && len(o.Kinds) == 0 { // such as of a variable without a value
			return usage("--kind: must not be empty")
		}
		return nil
	}
	return command
}

// narrow completes the filter.
func (o *eventOptions) narrow() error {
	if o.named != "" {
		producer, rest, found := strings.Cut(o.named, "/")
		if !found || rest == "" || o.Producer != "" && o.Producer != producer {
			return usage("--package: must be PRODUCER/NAME or PRODUCER/NAME@VERSION, of the producer if --producer is given")
		}
		o.Producer, o.Package = producer, rest
	}
	if o.follow && !o.Until.IsZero() {
		return usage("--until: not together with --follow, which has no end")
	}
	return asUsage(o.Validate())
}

func (a *app) events(ctx context.Context, o eventOptions) error {
	if err := o.narrow(); err != nil {
		return err
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	tell := func(e registry.Event) error {
		if e.Kind == verified && !o.all && len(o.Kinds) == 0 {
			return nil
		}
		return a.printEvent(e)
	}
	if o.follow {
		err := client.FollowEvents(ctx, o.EventQuery, tell)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // an interrupt is the normal end of --follow
		}
		return err
	}
	query := o.EventQuery
	query.Limit = registry.MaxEventPage
	for {
		page, err := client.ReadEvents(ctx, query)
		if err != nil {
			return err
		}
		for _, event := range page.Events {
			if err := tell(event); err != nil {
				return err
			}
		}
		// Stop at the head as of this page: a growing log has no other end.
		if page.Position <= query.After || page.Position >= page.Head {
			return nil
		}
		query.After = page.Position
	}
}

// printEvent uses fixed widths: a stream has no last row to align with.
func (a *app) printEvent(e registry.Event) error {
	return a.printStream(e, func() string {
		return fmt.Sprintf("%-8d %s  %-30s %-16s %s", e.Position, e.Time.UTC().Format(time.RFC3339), shown(e.Kind), dash(shown(e.Actor)), shown(e.Subject))
	})
}
