// A program of a client of the server, on the client that oapi-codegen has generated.
// It prints what it was answered, so that the test can look at it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"example.org/client/client"
)

func main() {
	api, err := client.NewClientWithResponses(os.Args[1])
	check(err)
	user, k, seed := "u1", int64(2), uint64(18446744073709551615)
	names := []string{"c1", "c2", "a/b é"}
	ask := client.PredictRequest{Context: &user, Candidates: &names, K: &k, Seed: &seed}
	one, err := api.PredictWithResponse(context.Background(), ask)
	check(err)
	all, err := api.PredictBatchWithResponse(context.Background(), []client.PredictRequest{ask, ask})
	check(err)
	event := client.FeedbackEvent{Arm: one.JSON200.Arms[0], Reward: 0.1, DecisionId: &one.JSON200.DecisionId}
	receipt, err := api.SendFeedbackWithResponse(context.Background(), event)
	check(err)
	receipts, err := api.SendFeedbackBatchWithResponse(context.Background(), []client.FeedbackEvent{event})
	check(err)
	arm, err := api.GetArmWithResponse(context.Background(), "a/b é")
	check(err)
	page, err := api.ListArmsWithResponse(context.Background(), &client.ListArmsParams{})
	check(err)
	phantom := client.FeedbackEvent{Arm: "rde", Reward: 1, DecisionId: &one.JSON200.DecisionId}
	refused, err := api.SendFeedbackWithResponse(context.Background(), phantom)
	check(err)
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"prediction": one.JSON200,
		"batch":      all.JSON200,
		"receipt":    receipt.JSON200,
		"receipts":   receipts.JSON200,
		"arm":        arm.JSON200,
		"arms":       len(page.JSON200.Arms),
		"next":       page.JSON200.Next,
		"error":      refused.JSON422,
	}))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
