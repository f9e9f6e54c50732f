// The wordings of tasks. In them {a} is an attribute, {k} a key, {v} a value.
#pragma once

#include <span>
#include <string_view>

#include "data/tasks.h"

namespace chunkllm {

// Wordings of one kind of fact. Needle, question and answer are chosen apart from each other.
struct TaskForms {
  std::span<const std::string_view> attributes;
  std::span<const std::string_view> needles;
  std::span<const std::string_view> questions;
  std::span<const std::string_view> answers;
};

// Rules of make_value() for keys and values, with the wordings of both sets.
struct FactFamily {
  std::string_view key_rule;
  std::string_view value_rule;
  TaskForms training;
  TaskForms held_out;
};

namespace task_forms {

using Text = std::string_view;

inline constexpr Text kShortAnswers[] = {"{v}.", "{v}", "It is {v}.",
                                         "According to the text, it is {v}."};
inline constexpr Text kOwnedAnswers[] = {"{v}.",
                                         "{v}",
                                         "It is {v}.",
                                         "The {a} of {k} is {v}.",
                                         "{k}'s {a} is {v}.",
                                         "The text says that it is {v}.",
                                         "According to the text, the {a} of {k} is {v}.",
                                         "Based on the text above, {k}'s {a} is {v}."};
inline constexpr Text kOwnedNeedles[] = {"The {a} of {k} is {v}.",
                                         "{k}'s {a} is {v}.",
                                         "Remember that the {a} of {k} is {v}.",
                                         "Somebody had written down that {k}'s {a} was {v}.",
                                         "The {a} that was given to {k} is {v}.",
                                         "As for {k}, the {a} is {v}."};
inline constexpr Text kOwnedQuestions[] = {
    "What is the {a} of {k}?",
    "What is {k}'s {a}?",
    "Tell me the {a} of {k}.",
    "According to the text, what is {k}'s {a}?",
    "Which {a} does the text give for {k}?",
    "I need the {a} of {k}. What is it?",
    "What does the text say about {k}'s {a}?",
    "{k} has forgotten the {a}. What is it?",
    "Give the {a} of {k} and nothing else.",
    "Somewhere in the text there is the {a} of {k}. Repeat it."};
inline constexpr Text kOwnedHeldOutNeedles[] = {"The {a} for {k} is {v}.",
                                                "By now the {a} of {k} is {v}."};
inline constexpr Text kOwnedHeldOutQuestions[] = {
    "Look through the text above: which {a} is there for {k}?",
    "Can you find the {a} of {k} in the text above?"};
inline constexpr Text kHeldOutAnswers[] = {"{v}."};

inline constexpr Text kNumbers[] = {"secret code",   "phone number",      "room number",
                                    "ticket number", "account number",    "access code",
                                    "badge number",  "locker combination"};
inline constexpr Text kHeldOutNumbers[] = {"vault code", "membership code"};
inline constexpr Text kWords[] = {"password",    "nickname",       "code word",
                                  "secret word", "favorite thing", "call sign"};
inline constexpr Text kHeldOutWords[] = {"watchword", "stage name"};
inline constexpr Text kCities[] = {"birthplace", "favorite city", "home town", "next destination"};
inline constexpr Text kHeldOutCities[] = {"place of work"};
inline constexpr Text kNone[] = {""};

inline constexpr Text kMagicNeedles[] = {
    "One of the special magic numbers for {k} is: {v}.", "The special magic number for {k} is {v}.",
    "{k} has the magic number {v}.", "A magic number of {k}: {v}."};
inline constexpr Text kMagicQuestions[] = {
    "What is the special magic number for {k} mentioned in the provided text?",
    "What is the magic number of {k}?", "Which magic number does {k} have?",
    "Find the magic number for {k}."};
inline constexpr Text kMagicAnswers[] = {
    "{v}.", "{v}", "The special magic number for {k} is {v}.",
    "The special magic number for {k} mentioned in the provided text is {v}."};
inline constexpr Text kMagicHeldOutNeedles[] = {"The special lucky number for {k} is: {v}."};
inline constexpr Text kMagicHeldOutQuestions[] = {
    "Which special lucky number was given for {k} in the text above?"};

inline constexpr Text kBestNeedles[] = {
    "The best thing to do in {k} is {v}.", "In {k} nothing is better than to {v}.",
    "Whoever comes to {k} should {v}.", "The people of {k} like to {v}."};
inline constexpr Text kBestQuestions[] = {
    "What is the best thing to do in {k}?", "What does the text recommend to do in {k}?",
    "What should one do in {k}?", "What do people like to do in {k}?"};
inline constexpr Text kBestAnswers[] = {
    "{v}.", "The best thing to do in {k} is {v}.", "In {k} one should {v}.",
    "According to the text, the best thing that one can do in {k} is {v}.",
    "Based on the text, somebody who comes to {k} should {v}."};
inline constexpr Text kBestHeldOutNeedles[] = {
    "A visitor who has one day in {k} can do nothing finer than {v}."};
inline constexpr Text kBestHeldOutQuestions[] = {
    "What can a visitor who has one day in {k} do, according to the text?"};

inline constexpr FactFamily kNumberFamilies[] = {
    {"person",
     "number5",
     {kNumbers, kOwnedNeedles, kOwnedQuestions, kOwnedAnswers},
     {kHeldOutNumbers, kOwnedHeldOutNeedles, kOwnedHeldOutQuestions, kHeldOutAnswers}},
    {"person",
     "number7",
     {kNumbers, kOwnedNeedles, kOwnedQuestions, kOwnedAnswers},
     {kHeldOutNumbers, kOwnedHeldOutNeedles, kOwnedHeldOutQuestions, kHeldOutAnswers}},
    {"hyphenated",
     "number7",
     {kNone, kMagicNeedles, kMagicQuestions, kMagicAnswers},
     {kNone, kMagicHeldOutNeedles, kMagicHeldOutQuestions, kHeldOutAnswers}},
};
inline constexpr FactFamily kWordFamilies[] = {
    {"person",
     "words",
     {kWords, kOwnedNeedles, kOwnedQuestions, kOwnedAnswers},
     {kHeldOutWords, kOwnedHeldOutNeedles, kOwnedHeldOutQuestions, kHeldOutAnswers}},
    {"person",
     "hyphenated",
     {kWords, kOwnedNeedles, kOwnedQuestions, kOwnedAnswers},
     {kHeldOutWords, kOwnedHeldOutNeedles, kOwnedHeldOutQuestions, kHeldOutAnswers}},
    {"person",
     "city",
     {kCities, kOwnedNeedles, kOwnedQuestions, kOwnedAnswers},
     {kHeldOutCities, kOwnedHeldOutNeedles, kOwnedHeldOutQuestions, kHeldOutAnswers}},
};
inline constexpr FactFamily kSentenceFamilies[] = {
    {"city",
     "phrase",
     {kNone, kBestNeedles, kBestQuestions, kBestAnswers},
     {kNone, kBestHeldOutNeedles, kBestHeldOutQuestions, kHeldOutAnswers}},
};

// Several values of one key: {v} is the list of them.
inline constexpr Text kAllMagicQuestions[] = {
    "What are all the special magic numbers for {k} mentioned in the provided text?",
    "List all magic numbers of {k}.", "Which magic numbers does {k} have? Name all of them.",
    "Find every magic number for {k}."};
inline constexpr Text kAllMagicAnswers[] = {
    "{v}.", "{v}", "They are {v}.", "The special magic numbers for {k} are {v}.",
    "According to the text, all the special magic numbers for {k} are {v}."};
inline constexpr Text kAllMagicHeldOutQuestions[] = {
    "Look through the text above: which special lucky numbers are there for {k}? There are four of "
    "them."};
inline constexpr Text kAllOwnedQuestions[] = {
    "What are all the {a}s of {k}?", "List every {a} of {k} that the text mentions.",
    "{k} has more than one {a}. Which are they?", "Name all the {a}s that belong to {k}."};
inline constexpr Text kAllOwnedAnswers[] = {"{v}.", "{v}", "They are {v}.",
                                            "The {a}s of {k} are {v}."};
inline constexpr Text kAllOwnedHeldOutQuestions[] = {
    "Look through the text above: which {a}s are there for {k}? There are four of them."};
inline constexpr Text kAllOwnedNeedles[] = {"One {a} of {k} is {v}.", "{k} has the {a} {v}.",
                                            "Another {a} of {k} is {v}."};

inline constexpr FactFamily kMultiValueFamilies[] = {
    {"hyphenated",
     "number7",
     {kNone, kMagicNeedles, kAllMagicQuestions, kAllMagicAnswers},
     {kNone, kMagicHeldOutNeedles, kAllMagicHeldOutQuestions, kHeldOutAnswers}},
    {"person",
     "number5",
     {kNumbers, kAllOwnedNeedles, kAllOwnedQuestions, kAllOwnedAnswers},
     {kHeldOutNumbers, kOwnedHeldOutNeedles, kAllOwnedHeldOutQuestions, kHeldOutAnswers}},
};

// Chains of variables: in needles {k} is a variable and {v} a number or another variable; in
// questions {k} is the number, in answers {v} the list of variables.
inline constexpr Text kAssignments[] = {"VAR {k} = {v}.", "Let {k} = {v}.", "SET {k} := {v}.",
                                        "The variable {k} has the same value as {v}."};
inline constexpr Text kVariableQuestions[] = {
    "Which variables hold {k}?", "Find all variables that are assigned the value {k} in the text.",
    "Name every variable whose value is {k}.", "What variables have the value {k}?"};
inline constexpr Text kVariableAnswers[] = {"{v}.", "{v}", "The variables that hold {k} are {v}.",
                                            "They are {v}."};
inline constexpr Text kHeldOutAssignments[] = {"VAR {k} = {v}."};
inline constexpr Text kVariableHeldOutQuestions[] = {
    "Look through the assignments in the text above. Which three variables are equal to {k}, "
    "directly or through another variable? Answer with their names."};
inline constexpr FactFamily kVariableFamily = {
    "variable",
    "number5",
    {kNone, kAssignments, kVariableQuestions, kVariableAnswers},
    {kNone, kHeldOutAssignments, kVariableHeldOutQuestions, kHeldOutAnswers}};

}  // namespace task_forms
}  // namespace chunkllm
