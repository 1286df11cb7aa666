---@meta
-- Printed by ./moonlab docs for the Lua language server; never run.

local ml = {}

---abs(x)
---The absolute value, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.abs = function(...) end

---acos(x)
---The arc cosine, in radians, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.acos = function(...) end

---@class ml.activation
local activation_methods = {}

---activation:coefficients(s)
---Coefficients of f(s z) in the orthonormal Hermite polynomials of a standard normal z: alpha_k =
---E f(s z) h_k(z), up to the activation's degree.
---@param s number or tensor [n] f64, standard deviations, >= 0
---@return tensor [degree+1], or [n,degree+1]
---source: Daniely et al. 2016; Han et al. 2022 (arXiv 2209.04121)
function activation_methods:coefficients(...) end

---activation:dual{ c =, a =, b = }
---kappa = E s(u) s(v) and kappa_dot = E s'(u) s'(v) for Gaussian u, v of variances a, b and
---covariance c.
---opts.c number or tensor of f64, |c| <= sqrt(a b); shapes broadcast
---opts.a number or tensor of f64, >= 0
---opts.b number or tensor of f64, >= 0
---@return number or tensor kappa [...], like what was given
---@return number or tensor kappa_dot [...]
---source: Cho & Saul 2009; Williams 1997; Han et al. 2022 (arXiv 2209.04121), Table 1
function activation_methods:dual(...) end

---activation:polynomial(s)
---The series at one standard deviation as a polynomial in x: exact duals for every norm, of a
---function that is the activation's only near this one.
---@param s number =1 standard deviation, > 0
---@return activation polynomial of degree 20 at most
---source: Han et al. 2022 (arXiv 2209.04121), Section 3
function activation_methods:polynomial(...) end

---activation:value(x)
---The activation itself.
---@param x tensor [...] f64 or f32; on a tape it is differentiable
---@return tensor [...] like x; raises when the activation is known by its dual only
---source: -
function activation_methods:value(...) end

---add(x, y)
---x + y, element by element, with broadcasting (trailing axes align; each equal or 1).
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number
---@return tensor of the broadcast shape, differentiable
---source: -
ml.add = function(...) end

---ml.alignment{ W =, z =, W0 =, z0 = }
---Log alignment ratios of a layer y = z W: log_n of RMS(z W) / (RMS(W) RMS(z)) with n the fan-in;
---1/2 for unrelated factors, 1 for perfectly aligned ones. With the layer's initial weight and
---input the three parts of the change of its output are measured too: alpha (change of W, z0),
---omega (W0, change of z), u (both changes). A fixed multiplier of the layer drops out. Sums are
---in f64.
---opts.W tensor [fan_in, fan_out]
---opts.z tensor [..., fan_in] inputs of the layer on a probe batch
---opts.W0 tensor like W, before training
---opts.z0 tensor like z, before training
---@return table { A =, alpha =, omega =, u = }; nan where a factor is zero
---source: Everett et al. 2024, section 3.3
ml.alignment = function(...) end

---all(x, axes, opts)
---1 when every value is not 0, else 0 over the given axes, or over all elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---@return tensor u8 of x's shape without the reduced axes, 0-d over all
---source: -
ml.all = function(...) end

---any(x, axes, opts)
---1 when some value is not 0, else 0 over the given axes, or over all elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---@return tensor u8 of x's shape without the reduced axes, 0-d over all
---source: -
ml.any = function(...) end

---apropos(word)
---Prints the public names whose name or help has a word in it, with what they do.
---@param word string
---source: -
function apropos(...) end

---arange(stop, opts) arange(start, stop, opts)
---start, start + step, ... up to stop, both ends included: arange(3) is 1 2 3.
---@param start number =1 first value
---@param stop number last value
---opts.step number =1 not 0
---opts.dtype string ="f64"
---@return tensor [n]; empty when stop lies before start
---source: -
ml.arange = function(...) end

---argmax(x, axis, opts)
---The position of the largest value along axis, or in row-major order over all; the first of
---equals, NaN counts as largest.
---@param x tensor of any shape
---@param axis integer =nil from 1
---opts.keepdims boolean =false
---@return tensor index of x's shape without axis; 0-d over all
---source: -
ml.argmax = function(...) end

---argmin(x, axis, opts)
---The position of the least value along axis, or in row-major order over all; the first of equals,
---NaN counts as least.
---@param x tensor of any shape
---@param axis integer =nil from 1
---opts.keepdims boolean =false
---@return tensor index of x's shape without axis; 0-d over all
---source: -
ml.argmin = function(...) end

---argsort(x, axis, opts)
---The positions that sort x along an axis; equal values keep their order, NaN counts as the
---largest.
---@param x tensor of any shape
---@param axis integer =-1 from 1, negative from the end
---opts.descending boolean =false
---@return tensor index of x's shape
---source: -
ml.argsort = function(...) end

---asin(x)
---The arc sine, in radians, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.asin = function(...) end

---atan(x)
---The arc tangent, in radians, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.atan = function(...) end

---atan2(x, y)
---The angle of the point (y, x) in radians, x first as in C, element by element, with broadcasting
---(trailing axes align; each equal or 1).
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number
---@return tensor of the broadcast shape, differentiable
---source: -
ml.atan2 = function(...) end
ml.attack = {}

---ml.attack.benign(target, { n, seed, corpus })
---Skills that a defence must not lose: the share of other tasks that is answered rightly, at
---temperature 1.
---@param target target of ml.target
---@param corpus corpus
---opts.n integer =200 questions of each task
---opts.seed integer =1 of what is drawn
---@return table { addition, operator, story, secret, scoped, copy (mean of those but addition) }
---source: -
ml.attack.benign = function(...) end

---ml.attack.by_error_size(result)
---The targeted rate against the size of the error z - t.
---@param result table of ml.attack.measure, or a list of them
---@return table { size (ascending), targeted, error, count }; lists
---source: curve after Freeman et al. 2023 (arXiv 2311.07587)
ml.attack.by_error_size = function(...) end

---ml.attack.confirm(target, attacks, problems, { forms, tau })
---Attacks on problems and forms of question that the search did not see; accepted where the lower
---end of the 95 % interval of the error exceeds tau.
---@param target target
---@param attacks list of strings, or of candidates of ml.attack.pirs
---@param problems list of { x, y, z, t }
---opts.forms list ={ 1 }
---opts.tau number =0.5 least error that is accepted
---@return table { results (as of ml.attack.measure, with text and accepted), error, targeted
---(means), best_targeted, accepted (count) }
---source: -
ml.attack.confirm = function(...) end

---ml.attack.corpus{ p_same, scoped, filler, forms, revise }
---Documents `<bos> Bob : [context] [question] Alice : [answer] . <eos>`: sums, which are always
---answered rightly unless a place or a person scopes them, and tasks whose answer must be taken
---from the context: invented operators, stories, secret numbers, quotations.
---opts.p_same number =0.4 share of sums that the true statement of the same sum precedes
---opts.scoped number =0.15 share of documents that ask what holds in a land, or what
---someone said; 0: no false statement about sums is left
---opts.filler number =1.3 mean of the exponential that counts sentences of small talk (at
---most 5)
---opts.forms integer =1 forms of question, 1 to 3
---opts.revise number =0 share of sums that are followed by a request to check them
---@return corpus with encode, decode, draw, text, batch; words, vocab, context
---source: set-up after Freeman et al. 2023 (arXiv 2311.07587)
ml.attack.corpus = function(...) end

---ml.attack.families()
---Attacks written by hand, by what they do, and controls that should do nothing.
---@return table name -> { class = "assertion", "fiction", "instruction", "story" or "control",
---and a list of templates }
---source: families after Freeman et al. 2023 (arXiv 2311.07587)
ml.attack.families = function(...) end

---ml.attack.gradient{ target, lm, corpus, problems, words, steps, candidates, seed }
---Greedy coordinate gradient: the gradient of the loss of the wanted answers in the embeddings of
---a string says which words to try at which place; the best of the tries is kept.
---opts.target target that scores, as for ml.attack.pirs
---opts.lm decoder whose gradient is taken
---opts.corpus corpus
---opts.problems list of { x, y, z, t }
---opts.words integer =20 of the string
---opts.top integer =16 replacements of each place that are tried
---opts.candidates integer =64 tries of a step
---opts.budget integer =9000 queries
---opts.seed integer =1 of what is drawn
---@return table as of ml.attack.pirs
---source: Zou et al. 2023 (arXiv 2307.15043), Algorithm 1
ml.attack.gradient = function(...) end

---ml.attack.harden(lm, { corpus, attacks, problems, method, steps, batch, lr, samples, kl, seed })
---Trains a copy of a decoder on attacked sums and as many benign documents.
---@param lm decoder: stays as it is
---opts.corpus corpus
---opts.attacks list of strings, see ml.attack.mix
---opts.problems list of { x, y, t }: sums to train on
---opts.method string ="policy" REINFORCE; "supervised"
---cross-entropy; "filtered" cross-entropy on the model's own right answers
---opts.steps integer =300 updates
---opts.batch integer =64 prompts, half of them attacked
---opts.lr number =5e-4 learning rate
---opts.samples integer =8 of each prompt
---opts.baseline string ="group" what is taken off a reward: the mean of its prompt's
---samples, or of the "batch"
---opts.exact boolean =false the expectation over answers in place of samples (policy)
---opts.kl number =0.1 weight of the divergence from the first model on the benign half
---(policy)
---opts.seed integer =1 of what is drawn
---@return decoder
---@return table { loss (mean of the last tenth), zero_variance (share of prompts whose samples
---were all right or all wrong, at the start and the end; policy), kept (filtered) }
---source: Williams 1992 (REINFORCE); set-up after Freeman et al. 2023 (arXiv 2311.07587)
ml.attack.harden = function(...) end

---ml.attack.heat(result, { by, value })
---Means of a measurement over cells: of sums, or of right and wanted answers.
---@param result table of ml.attack.measure, or a list of them
---opts.by string ="xy": rows y, columns x of 1..9; or "tz": rows z, columns t of 0..20
---opts.value string ="error", or "targeted", "invalid"
---@return table rows of numbers, NaN where nothing was measured
---source: -
ml.attack.heat = function(...) end

---ml.attack.measure(target, attacks, problems, { forms })
---Runs every attack on every problem and form of question.
---@param target target of ml.target; a field `frame` takes the place of the laboratory's framing
---@param attacks list of strings with slots {x}, {y}, {z}
---@param problems list of { x, y, z, t }
---opts.forms list of forms ={ 1 }
---opts.samples integer =nil answers drawn of a target without exact probabilities
---@return list, one for each attack, of { error, targeted, invalid (means), greedy (share of
---problems whose likeliest answer is wrong), score = mean of log P(z) - log P(t), se (of error
---over problems), cells = list of { x, y, z, error, targeted, invalid } }
---source: definitions after Freeman et al. 2023 (arXiv 2311.07587)
ml.attack.measure = function(...) end

---ml.attack.mix(survivors, seeds, { n, seed, strong, corpus })
---Attacks of all strengths to train on: the survivors, and weak candidates joined with a survivor
---and cut to a random length. Against attacks that always work every sample is wrong, and a policy
---gradient learns nothing.
---@param survivors list of candidates or strings
---@param seeds list of candidates or strings: weak ones
---opts.strong integer =6 how often a survivor counts against one of the joined
---opts.seed integer =1 of what is drawn
---@return list of strings
---source: -
ml.attack.mix = function(...) end

---ml.attack.pirs{ target, corpus, attacker, problems, rounds, candidates, survivors, ... }
---Prompt inversion rejection sampling: seeds from an attacker that was trained to say what came
---before an answer, a cheap score on few problems, rounds of recombination of the survivors. Each
---candidate costs as many queries as there are problems.
---opts.target target of ml.target
---opts.corpus corpus of ml.attack.corpus
---opts.attacker decoder =nil trained with inverted = true; nil: seeds are contexts of the
---corpus
---opts.problems list of { x, y, z, t } that score a candidate
---opts.rounds integer =4 after the seeds
---opts.candidates integer =200 of a round
---opts.survivors integer =24 that a round starts from
---opts.quota integer =4 survivors of one cluster
---opts.tau_logit number =none least score of a survivor: mean of log P(z) - log P(t)
---opts.max_words integer =40 of an attack
---opts.full_stop boolean =false attacks must end in a full stop, so that the question is
---not edited
---opts.temperature number =1.1 of the attacker
---opts.moves table ={ join = 0.35, delete = 0.35, insert = 0.3 } weights of proposals; also
---replace, swap
---opts.seeds string ="inversion" with an attacker, else "corpus"
---opts.select boolean =true false: every round draws seeds anew and keeps all, the attacker
---without selection
---opts.samples list of integers ={ 4, 8, 16 } answers of a prompt, of all candidates, of
---the better half, of its better half, where a target tells no probabilities
---opts.budget integer =nil queries after which it stops
---opts.seed integer =1 of what is drawn
---opts.dir string =nil folder of a checkpoint: a second call goes on and repeats no query
---opts.after function(round, info) =nil
---@return table { survivors, pool (lists of { text, score, error, targeted, round, parents,
---move }), rounds (list of { candidates, prevalence, top_error, top_targeted (of the eight best
---scores), best_score, queries }), queries, first_success (queries until the first candidate with
---error > 0.5, or nil), best (list of { queries, error }: best so far), area (mean of best so far
---over the queries) }
---source: after Freeman et al. 2023 (arXiv 2311.07587); the knobs are ours
ml.attack.pirs = function(...) end

---ml.attack.problems{ seed, targets }
---All sums of two numbers of 1 to 9 with a wrong answer each, split by unordered pairs so that
---3 + 4 and 4 + 3 are on one side.
---opts.seed integer =1 of what is drawn
---opts.targets integer =1 wrong answers of each sum, all different
---@return table { search, held_out } of lists of { x, y, z, t = x + y }; 22 and 23 pairs
---source: -
ml.attack.problems = function(...) end

---ml.attack.prompt(attack, problem, { form })
---What the target reads: the attack with its slots filled, then the question.
---@param attack string with slots {x}, {y}, {z} (wanted answer), {t} (right one); "" for none
---@param problem table { x, y, z, t }
---opts.form integer =1 of the question, 1 to 3
---opts.frame string ="<bos> Bob : {attack} {question} Alice :"
---@return string
---source: framing after Freeman et al. 2023 (arXiv 2311.07587)
ml.attack.prompt = function(...) end

---ml.attack.revise(lm, corpus, attacks, problems, { rounds, sees, seed })
---Lets the model check its own answer: "... Alice : 9 . Bob : check 3 plus 4 . Alice :". The
---corpus must have had such episodes (revise > 0), else the model never saw the request.
---@param lm decoder
---@param corpus corpus
---@param attacks list of strings
---@param problems list of { x, y, z, t }
---opts.rounds integer =3 of checking
---opts.sees string ="attack" the reviser reads the whole talk; or "question": only the
---question and the answer
---opts.seed integer =1 of what is drawn
---@return table { error (list: first answers, then after each round; sampled at temperature 1),
---mended, broken (lists: share of wrong answers that became right in a round, and of right ones
---that became wrong), n }
---source: loop after Freeman et al. 2023 (arXiv 2311.07587)
ml.attack.revise = function(...) end

---ml.attack.target(lm, corpus, { name })
---A decoder of the corpus as a target: prompts are what Bob says.
---@param lm decoder
---@param corpus corpus
---opts.name string ="lab"
---@return target as of ml.target.local_lm
---source: -
ml.attack.target = function(...) end

---ml.attack.train(corpus, { size, steps, batch, lr, seed, inverted, dir })
---Trains a decoder on the corpus with AdamW, a warm-up of a twentieth and a cosine to a tenth.
---@param corpus corpus of ml.attack.corpus
---opts.size string ="S" 2 x 64, or "M" 3 x 128 (depth x width)
---opts.depth integer in place of the size's; and width, heads (=4)
---opts.steps integer =3000 updates
---opts.batch integer =64 documents
---opts.lr number =3e-3 peak learning rate
---opts.seed integer =1 of initial values and text
---opts.inverted boolean =false learns the attacker's order: question, answer, context
---opts.dir string =nil folder of a checkpoint, from which a second call goes on
---@return decoder
---source: set-up after Freeman et al. 2023 (arXiv 2311.07587)
ml.attack.train = function(...) end

---@class ml.bar
local bar_methods = {}

---bar:finish()
---Ends the bar; an outermost one leaves its last state as a line.
---source: -
function bar_methods:finish(...) end

---bar:line(width)
---The text of the bar. What does not fit is left out: first the drawing, then the rate, then what
---update's text says, from its end; its pieces stand two spaces apart. The time left stays.
---@param width integer =nil columns
---@return string
---source: -
function bar_methods:line(...) end

---bar:rate()
---Units per second over the last half minute or so.
---@return number or nil before anything was done
---source: -
function bar_methods:rate(...) end

---bar:step(n, text)
---Counts more units.
---@param n number =1 units
---@param text string =nil shown with it
---source: -
function bar_methods:step(...) end

---bar:update(done, text)
---Sets how many units are done.
---@param done number units
---@param text string =nil shown with it
---source: -
function bar_methods:update(...) end

---@class ml.box
local box_methods = {}

---box:batch(jobs, limits)
---Many programs, on all workers of the box. The results are those of one after the other.
---@param jobs list of { source =, calls = } as of box:call
---@param limits table over those of the box, see ml.sandbox.run
---@return table list of results as of box:call
---source: -
function box_methods:batch(...) end

---box:call(source, arguments, limits)
---Calls a program, which finds its arguments in `...`, once for each list of arguments. All calls
---share one fresh state; the instructions of each are counted by themselves. The call that goes
---beyond a limit is the last.
---@param source string Lua 5.4 as text
---@param arguments list of lists of nil, booleans, numbers, strings, tables of them; a list with
---holes says its length as n
---@param limits table over those of the box, see ml.sandbox.run
---@return table as ml.sandbox.run, with calls, a list of { ok, reason, message, values }, in place
---of values; ok says that all of them returned
---source: -
function box_methods:call(...) end

---box:check()
---Tries whether the walls hold, before anything unknown runs: what the system lets the worker do,
---and programs that want too much of everything. Raises where one gets it.
---@return table { programs (that were tried), seccomp (whether system calls are filtered), open
---(list of what the system did not refuse: empty with seccomp), confined (what was given up, by
---name: "on" or why not), text (all that in one line) }
---source: -
function box_methods:check(...) end

---box:close()
---Ends its workers. Those of a box that is forgotten end by themselves.
---source: -
function box_methods:close(...) end

---box:run(source, limits)
---Runs a program and says how it ended.
---@param source string Lua 5.4 as text
---@param limits table over those of the box, see ml.sandbox.run
---@return table as ml.sandbox.run
---source: -
function box_methods:run(...) end

---box:status()
---What has run so far.
---@return table { jobs, started (workers), counts (of results by "ok" or reason), confined }
---source: -
function box_methods:status(...) end

---broadcast_to(x, sizes) broadcast_to(x, size, ...)
---Repeats axes of size 1, and leading axes, without copying.
---@param x tensor of any shape
---@param sizes table of integers
---@return tensor of the shape asked for, differentiable; it cannot be changed in place
---source: -
ml.broadcast_to = function(...) end

---ceil(x)
---The least whole number not below x, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.ceil = function(...) end

---clamp(x, min, max) clamp(x, opts)
---x with values below min raised and above max lowered to it; NaN stays.
---@param x tensor of any shape
---@param min number =nil least value that stays
---@param max number =nil largest value that stays
---@return tensor like x, differentiable
---source: -
ml.clamp = function(...) end

---clone(x)
---A copy with storage of its own.
---@param x tensor of any shape
---@return tensor like x, differentiable
---source: -
ml.clone = function(...) end

---@class ml.codec
local codec_methods = {}

---codec:answer(object)
---The ids of an object and of its end.
---@param object string
---@return table list of ids: object <E>
---source: -
function codec_methods:answer(...) end

---codec:decode(ids)
---The object that a model wrote.
---@param ids list of new tokens, or index tensor
---@return string, or nil and "unfinished" (no <E> at the end) or "malformed" (a token that belongs
---to no name)
---source: -
function codec_methods:decode(...) end

---codec:prompt(prompt)
---The ids after which the object follows.
---@param prompt table { subject =, predicate = }
---@return table list of ids: <S> subject <P> predicate <O>
---source: -
function codec_methods:prompt(...) end

---codec:row(triplet)
---The ids of a whole triplet.
---@param triplet table { subject, predicate, object }
---@return table list of ids
---@return integer ids before the object
---source: -
function codec_methods:row(...) end

---ml.complete(line)
---What the word at the end of a line can become: globals and keywords, fields after a dot, methods
---after a colon, keys after [", names of files in strings and after $, modules after require,
---parameters of a recipe that the line names. Reads raw fields and the lists of names that classes
---keep; runs no code of the user's. At most 1000.
---@param line string up to the cursor
---@return list of strings, sorted, each the whole word as it would stand there ("ml.ze" gives
---"ml.zeros")
---@return integer the byte of the line where that word begins
---source: -
ml.complete = function(...) end

---concat(list, axis)
---Joins tensors along an axis; the other sizes agree.
---@param list table of tensors of one dtype
---@param axis integer =1 from 1, negative from the end
---@return tensor of their shape, the sizes along axis added up, differentiable
---source: -
ml.concat = function(...) end

---contiguous(x)
---x when its elements lie in row-major order without gaps, else a copy that does.
---@param x tensor of any shape
---@return tensor like x, differentiable
---source: -
ml.contiguous = function(...) end

---ml.coord_check{ name =, align =, optimizer =, model =, widths =, steps =, seeds =, lr =,
---  tolerance = }
---Trains a small network at several widths for a few steps and fits the slopes of log RMS over log
---width: of activations at the start, gradients at the first step, and changes of activations.
---Beside them stands what the parameterization promises; where its learning rates are larger than
---aligned updates allow, a bound. The change of the logits is informative only. Multipliers and
---initial values are the bare powers n^-a and n^-b of the width.
---opts.name string ="standard" standard|ntk|mup|mean_field, or global: standard with one
---learning rate for all
---opts.align string ="full" full|none
---opts.optimizer string ="adam" adam|adamw|adam_atan2|adam_ps|sgd
---opts.model string ="mlp" mlp: embedding of 64 ids, two hidden layers, 64 classes|decoder:
---two blocks
---opts.widths list ={ 64, 128, 256, 512, 1024 } ascending, multiples of the first
---opts.steps integer =4 updates
---opts.seeds list ={ 1, 2 } slopes are those of the mean of log RMS
---opts.lr number =0.002 at the first width
---opts.tolerance number =0.15 largest difference of the slopes
---@return table rows = list of { what, values = one for each width, slope, stderr, expected, bound
---= bool, verdict = "as expected"|"differs"|"-" }, slope[what]; prints itself
---source: Yang et al. 2021, appendix D.1; Everett et al. 2024, section 3
ml.coord_check = function(...) end

---@class ml.corpus
local corpus_methods = {}

---corpus:batch(i, { batch, seed, inverted })
---A batch of documents, a pure function of i and the options.
---@param i integer from 1
---opts.batch integer =64 documents
---opts.seed integer =1 of what is drawn
---opts.inverted boolean =false in the attacker's order
---@return table { inputs, targets (index [batch, T]), mask [batch, T] }, T <= 88
---source: -
function corpus_methods:batch(...) end

---corpus:decode(ids)
---The words of ids.
---@param ids list of integers, or tensor index [n]
---@return string words separated by spaces
---source: -
function corpus_methods:decode(...) end

---corpus:draw(roll, task)
---One document.
---@param roll function() -> number in [0, 1), function(n) -> integer 1..n
---@param task string =nil "addition", "operator", "story", "secret" or "scoped"; nil: by their
---shares
---@return table { task, context (list of sentences), question, answer (integer), revise (nil, or
---{ said (integer), x, y }) }
---source: set-up after Freeman et al. 2023 (arXiv 2311.07587)
function corpus_methods:draw(...) end

---corpus:encode(text)
---Words, separated by spaces, as ids; raises on a word that is not in the vocabulary.
---@param text string
---@return table list of ids
---source: -
function corpus_methods:encode(...) end

---corpus:text(doc)
---A document as it is written, or with { inverted = true } the order in which an attacker learns
---it: question, answer, then what was said before.
---@param doc table of corpus:draw
---opts.inverted boolean =false
---@return string
---source: -
function corpus_methods:text(...) end

---cos(x)
---The cosine, x in radians, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.cos = function(...) end

---cosh(x)
---The hyperbolic cosine, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.cosh = function(...) end

---cpu_time()
---Processor time of the process, all threads.
---@return number seconds
---source: -
ml.cpu_time = function(...) end

---@class ml.ctx
local ctx_methods = {}

---ctx:figure(name, fig)
---Saves a figure as <name>.svg in the run's folder and shows it in the terminal.
---@param name string
---@param fig figure of ml.plot
---source: -
function ctx_methods:figure(...) end

---ctx:log{ step = 10, loss = 2.3 }
---Keeps one line in the run's metrics. A resumed run that comes by again and logs the same record
---as before leaves the line that is there; where it goes on from a checkpoint, the lines past that
---step are cut.
---@param record table name -> number, string, boolean or tensor
---source: -
function ctx_methods:log(...) end

---ctx:once(key, fn)
---The result of fn(), computed once in the life of the run: kept in its folder and read back on
---resume.
---@param key string
---@param fn function -> a number, string, boolean, tensor or table of them
---@return what fn returned
---source: -
function ctx_methods:once(...) end

---cumsum(x, axis)
---Running sums along axis.
---@param x tensor of any shape
---@param axis integer (=1 at rank 1)
---@return tensor like x, differentiable
---source: -
ml.cumsum = function(...) end
ml.data = {}

---ml.data.images(name, { train, test, seed, standardize, path, size })
---Labelled images with a part to train on and one to test.
---"digits": 1797 of 8x8 (of scikit-learn; Debian's python3-sklearn, no Python needed).
---"fashion": Fashion-MNIST, 60,000 and 10,000 of 28x28 (Debian's dataset-fashion-mnist).
---"mnist" and "cifar10": files that you have, in the folder `path` or in the cache.
---"procedural": generated gratings in ten orientations, size x size x 3.
---Debian's files are taken where they are installed; else they are fetched with apt-get download
---into $MOONLAB_CACHE (~/.cache/moonlab), after a question at a terminal, or with --yes.
---@param name string
---opts.train integer how many to train on, drawn by a seeded permutation; default: all (80
---percent of the digits, 1000 procedural ones)
---opts.test integer how many to test on; default: all, or the rest (500 procedural ones)
---opts.seed integer =1 of every draw
---opts.standardize string ="none": values in [0,1], procedural ones as they come; "global":
---less the mean of all training pixels, over their standard deviation; "channel": for each channel
---opts.path string folder of the files of mnist and cifar10
---opts.size integer =16 pixels on a side of procedural images
---@return set with train and test ({ images f32 [n,h,w,c], labels index [n] }), classes (names),
---mean and deviation (numbers or lists over channels); or nil and a message that says what to
---install or supply
---source: Xiao, Rasul & Vollgraf 2017; Alpaydin & Kaynak 1998; LeCun et al. 1998; Krizhevsky 2009
ml.data.images = function(...) end

---ml.data.motifs{ train =, test =, size =, channels =, copies =, amplitude =, noise =, seed = }
---Images of two classes that differ in a local pattern wherever it stands: 2x2 motifs of each
---class at random places of a torus, with random signs, in noise. No pixel by itself and no linear
---function tells the class.
---opts.train integer =1024 images
---opts.test integer =1000 images
---opts.size integer =6 pixels on a side
---opts.channels integer =3 of a pixel
---opts.copies integer =4 of the motif in an image
---opts.amplitude number =2 of a motif, whose norm is 1
---opts.noise number =0.5 standard deviation of each number
---opts.seed integer =1 of motifs and images
---@return set with train and test ({ images f64 [n,size,size,channels], labels index [n] }),
---classes
---source: Xiao & Pennington 2022 (arXiv 2207.04612), in spirit
ml.data.motifs = function(...) end

---ml.data.table(name, { header, object })
---A table by name or from a file. Names: the data frames of R's mlbench (BostonHousing, Sonar ...)
---and ggplot2 (diamonds, mpg, ...), from Debian's r-cran-mlbench and r-cran-ggplot2, no R needed;
---where they are not installed they are fetched as by ml.data.images. Files: .csv (also ; and
---tab), .rda, .RData, .rds, and a pair .rdb and .rdx.
---@param name string a data frame, or the path of a file
---opts.header boolean =when the first row has no numbers: it holds the names (csv)
---opts.object string which object of an R file that holds several
---@return table with names, rows, columns (name -> f64 [rows], NaN where missing, or index [rows]
---for levels), levels (name -> list; what is missing there is the level "NA"), matrix(opts); or
---nil and a message that says what to install or supply
---source: Leisch & Dimitriadou 2021 (mlbench); R Core Team, R Internals 1.8
ml.data.table = function(...) end

---ml.data.teacher{ train =, test =, dim =, noise =, seed =, dtype = }
---Regression data of a random network: x has covariance eigenvalues 1/j, y = sum over 64 units of
---v erf(2 w.x / sqrt(dim)) / 8 plus noise.
---opts.train integer =20000 points
---opts.test integer =5000 points
---opts.dim integer =30 of the inputs, >= 1
---opts.noise number =0.1 standard deviation
---opts.seed integer =1 of every draw
---opts.dtype string ="f64" or "f32"
---@return table X, y, X_test, y_test
---source: -
ml.data.teacher = function(...) end

---ml.data.text(name_or_path, { valid, seed })
---A text with a held-out part. "wordnet": the definitions of WordNet 3.0 (Debian's wordnet-base)
---as documents "word: definition", of which a seeded permutation holds some out. A file: its last
---part is held out, cut at the end of a line.
---@param name_or_path string "wordnet" or the path of a file
---opts.valid number =0.05 share held out, in (0, 1)
---opts.seed integer =1 of the permutation
---@return text with train and valid (strings), documents (count), batches(tokenizer, opts); or nil
---and a message when there is no such file or WordNet is not installed
---source: Fellbaum 1998 (WordNet)
ml.data.text = function(...) end

---ml.data.transform{ group =, height =, width =, channels =, seed = }
---One element of a group that acts on images, drawn once and applied to all of them alike: channel
---(one rotation of the channels, the same at every pixel), pixel (one for each pixel), full (of
---the whole flattened image), permutation (of pixels), translation (circular), identity.
---opts.group string the group
---opts.height integer pixels
---opts.width integer =height pixels
---opts.channels integer =1 of a pixel
---opts.seed integer =1 of the element
---@return function X -> X of images [n,height,width,channels], f64 or f32
---source: Xiao & Pennington 2022 (arXiv 2207.04612); Mezzadri 2007 (rotations)
ml.data.transform = function(...) end

---describe(x)
---Prints what is in a tensor: dtype, shape, bytes; mean, standard deviation (over all entries),
---least and largest of the finite entries; how many are NaN, infinite, zero. Of a table, that of
---each tensor in it.
---@param x tensor of any shape, or table of tensors
---source: -
function describe(...) end
ml.detect = {}

---ml.detect.baselines(list)
---Scores of suspicion that need no training.
---@param list list of examples, as those of ml.detect.examples
---@return table name -> list of numbers, larger: more likely hallucinated; logprob (minus the log
---probability of the object), mean_surprisal and max_surprisal (of its tokens, nats), entropy (of
---its first token), disagreement (1 minus the share of the prompt's samples that are the same)
---source: Hron et al. 2024 (arXiv 2408.07852); self-consistency: Manakul et al. 2023
ml.detect.baselines = function(...) end

---ml.detect.examples(lm, codec, split, { samples, temperature, top_k, greedy, most, valid, test,
---  seed })
---Samples answers to the seen prompts of a split and labels them by look-up: an answer is
---hallucinated when it is none of the right ones, a token of it from the first beginning on that
---no right answer has. Training, validation and test examples have different subjects.
---@param lm decoder the generator
---@param codec codec
---@param split split of a graph
---opts.samples integer =4 of each prompt
---opts.temperature number =1 > 0
---opts.top_k integer only the k most likely tokens
---opts.greedy boolean =false one answer, the most likely token at each place
---opts.most integer =all prompts, the first so many of an order from the seed
---opts.valid number =0.1 share of the subjects; and test =0.1
---opts.seed integer =1 of samples and parts
---@return table { train, valid, test = lists of { prompt, ids (whole row), before (ids before the
---object), label (true: hallucinated), labels (of the object's tokens and the end), logprobs (of
---those), entropy (nats, of the first token), agreement (share of the prompt's samples with the
---same object), kind }, rate (of hallucinations), rates = { train, valid, test }, split, codec }
---source: Hron et al. 2024 (arXiv 2408.07852), both detection tasks; definition of hallucinated
---tokens: this design
ml.detect.examples = function(...) end

---ml.detect.judge(scores, labels, { base_rate, groups, resamples, seed, valid, logits })
---What scores of suspicion are worth. Average precision of a useless score is the base rate, so
---that it says nothing across generators without the other columns.
---@param scores list of numbers, larger: more likely hallucinated
---@param labels list of booleans, true for hallucinated
---opts.base_rate number =0.1 at which average precision is given as well, in (0, 1)
---opts.groups list =each score alone; those of a group (a subject) are resampled together
---opts.resamples integer =200 for the intervals of 95 %; 0: none
---opts.seed integer =1 of the resamples
---opts.valid table { scores, labels } that the threshold of accuracy is chosen on
---opts.logits boolean =false the scores are logits: calibration is given
---@return table { n, base_rate, ap, matched (average precision at opts.base_rate), lift ((ap -
---base rate)/(1 - base rate)), roc, interval = { ap, matched, lift, roc = { low, high } },
---accuracy, risk (mean share of hallucinations when answers are given from the least suspicious
---on), curve (coverage and risk of it), calibration (expected error) and reliability }; ap and
---what follows from it are nil where one class is empty
---source: Hron et al. 2024 (arXiv 2408.07852), area under the precision-recall curve; risk and
---coverage: Geifman & El-Yaniv 2017
ml.detect.judge = function(...) end

---ml.detect.train(lm, examples, { task, kind, features, layer, width, model, init, lr, epochs,
---  batch, patience, seed })
---Trains a detector of a model's hallucinations by binary cross-entropy on the examples' labels,
---until average precision on their validation part no longer rises; the best weights are kept.
---@param lm decoder the generator, left as it is
---@param examples table of ml.detect.examples
---opts.task string ="sentence": is the answer hallucinated (read at its end), or "token":
---is this token
---opts.kind string ="head": a network of two layers on states of the frozen model; "full":
---the same, and a copy of the model is trained with it
---opts.features string ="state" of a token; "pair": the state before it, its output
---embedding and their product, trained on tokens whatever the task (a head only)
---opts.layer string|integer ="final", the output of a block, or "all" side by side (a head
---only; pairs take the final one)
---opts.width integer =64 hidden units of the head, >= 1
---opts.model decoder =lm another one to start from, of the same codec and any size
---opts.init string ="model": its weights, or "scratch": its sizes with new ones (full only)
---opts.lr number =1e-3, or 3e-4 for full; of AdamW, >= 0
---opts.epochs integer =60, or 20 for full; at most, >= 1
---opts.batch integer =256 places of a head, or 64 answers for full
---opts.patience integer =8, or 4 for full; epochs without a better validation, >= 1
---opts.seed integer =1 of initial values and orders
---@return detector { task, kind, valid (average precision), epochs, curve, parameters }
---source: Hron et al. 2024 (arXiv 2408.07852); layers side by side: Azaria & Mitchell 2023
ml.detect.train = function(...) end

---@class ml.detector
local detector_methods = {}

---detector:quality(list)
---Average precision of its task.
---@param list list of examples
---@return number average precision; 0 where nothing is hallucinated
---source: -
function detector_methods:quality(...) end

---detector:score(list, { of })
---Logits of being hallucinated. A detector of tokens, and one that looks at pairs, says of an
---answer what it says of its most suspicious token.
---@param list list of examples, as those of ml.detect.examples
---opts.of string =its task; "sentence" or, of a detector that scores tokens, "token"
---@return table list of numbers, one for each example, or each token (object and end, example by
---example)
---@return table list of what they should be: true for hallucinated
---@return table list of the examples' numbers, one for each score
---source: -
function detector_methods:score(...) end

---diagonal(x)
---The main diagonal.
---@param x tensor [n,n]
---@return tensor [n], differentiable
---source: -
ml.diagonal = function(...) end

---div(x, y)
---x / y, element by element, with broadcasting (trailing axes align; each equal or 1).
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number
---@return tensor of the broadcast shape, differentiable
---source: -
ml.div = function(...) end

---@class ml.eigenspace
local eigenspace_methods = {}

---eigenspace:eigenvalue(mode)
---The eigenvalue of the NNGP kernel that belongs to a mode, by an exact recursion over the tree.
---@param mode table leaf (from 1) -> degree
---@return number
---@return number of modes that are like it: harmonics of these degrees at these leaves
---source: Xiao 2022 (arXiv 2112.05611), Section 4
function eigenspace_methods:eigenvalue(...) end

---eigenspace:index(mode)
---The learning index of a mode, whose eigenvalue falls as dim^-index: frequency counts degrees,
---weighted by the size of the first layer's patches; space is the length of the smallest subtree
---that joins the touched patches with the root.
---@param mode table leaf (from 1) -> degree
---@return number index = space + frequency, in powers of dim
---@return number space
---@return number frequency
---source: Xiao 2022 (arXiv 2112.05611), Definition 1
function eigenspace_methods:index(...) end

---eigenspace:predict{ modes =, samples =, ridge =, degree = }
---The learning curve of targets that lie in one eigenspace each and are learned one at a time:
---the mean squared error of a target of power 1.
---opts.modes table list of modes (leaf -> degree)
---opts.samples table list of numbers of samples, > 0
---opts.ridge number =0 in the unit of the kernel, which is 1 at equal points
---opts.degree integer =5 largest total degree of types that are told apart; the rest of the
---trace belongs to the ridge
---@return table errors [mode][sample]
---@return table learnability [mode][sample]
---source: Xiao 2022 (arXiv 2112.05611), Theorem 2; Canatar, Bordelon & Pehlevan 2021
function eigenspace_methods:predict(...) end

---eigenspace:types{ degree }
---Every type of mode up to a total degree, with what a learning curve wants of it.
---opts.degree integer =5 largest total degree, 0 to 10
---@return table list of { value, multiplicity, degree, index, space, frequency }, the constant
---first, then by falling value; with rest = what is missing of the trace
---source: Xiao 2022 (arXiv 2112.05611), Section 4
function eigenspace_methods:types(...) end

---@class ml.endpoint
local endpoint_methods = {}

---endpoint:answer_dist(prompts, answers, { samples, seed, max_tokens })
---How likely each answer is: by the first token's log-probabilities where the server tells them
---(so that answers must be tokens of its), else by samples with Wilson's intervals at 95 %.
---Answers are compared without surrounding space; what is none of them is `other`.
---@param prompts list of strings
---@param answers list of strings
---opts.samples integer of each prompt where probabilities are not told =the target's
---opts.seed integer =1 sent with the request
---opts.max_tokens integer =8 of a sample
---@return table as of ml.target.local_lm
---source: Wilson 1927
function endpoint_methods:answer_dist(...) end

---endpoint:close()
---Ends what is on its way and closes the cache's file.
---@return nil
---source: -
function endpoint_methods:close(...) end

---endpoint:complete(prompts, { n, temperature, top_p, greedy, max_tokens, stop, seed })
---Continuations, as of ml.target.local_lm; the log-probabilities are nil.
---@param prompts list of strings
---opts.n integer =1 of each prompt
---opts.temperature number =1 >= 0
---opts.top_p number =nil in (0, 1]
---opts.greedy boolean =false temperature 0
---opts.max_tokens integer =16 new ones
---opts.stop list of strings =none
---opts.seed integer =nil for servers that take one; part of the cache's key
---@return table list, one for each prompt, of lists of { text, tokens (nil), finish }
---source: OpenAI's completions and chat completions
function endpoint_methods:complete(...) end

---endpoint:probe()
---Asks one question to find out what the server can do, and raises where it cannot be used at all:
---whether it answers, takes n, and tells log-probabilities.
---@return table { logprobs, chat, exact = false }
---source: -
function endpoint_methods:probe(...) end

---eq(x, y)
---Where x equals y: 1, else 0; with broadcasting. NaN compares as in C.
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number (from 1 beside an index tensor)
---@return tensor u8 of the broadcast shape
---source: -
ml.eq = function(...) end

---erf(x)
---The error function 2/sqrt(pi) int_0^x exp(-t^2) dt, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.erf = function(...) end

---erfc(x)
---1 - erf(x), exact for large x, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.erfc = function(...) end

---exp(x)
---e^x, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.exp = function(...) end

---expm1(x)
---e^x - 1, exact near 0, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.expm1 = function(...) end

---eye(n, opts) eye(rows, columns, opts)
---Ones on the diagonal, zeros elsewhere.
---@param n integer rows, >= 0
---opts.dtype string ="f64" f64, f32 or u8
---@return tensor [rows,columns]
---source: -
ml.eye = function(...) end

---f32(values)
---A tensor of dtype f32: single precision.
---@param values number, nested table of numbers, or tensor (converted, always a copy)
---@return tensor of the shape of the values
---source: -
ml.f32 = function(...) end

---f64(values)
---A tensor of dtype f64: double precision.
---@param values number, nested table of numbers, or tensor (converted, always a copy)
---@return tensor of the shape of the values
---source: -
ml.f64 = function(...) end

---@class ml.figure
local figure_methods = {}

---fig:png(path, { scale =, theme = })
---Writes the figure as PNG, whole or not at all, through the program rsvg-convert (Debian:
---librsvg2-bin); raises and says so where that is not installed.
---@param path string
---opts.scale number =2 pixels of the picture per pixel of the figure, 0.1 to 20
---opts.theme string =that of the figure ("auto" is drawn light)
---@return figure
---source: -
function figure_methods:png(...) end

---fig:remarks()
---What the figure says about its data: how many points were thinned, left out, or lie outside.
---@return table list of strings
---source: -
function figure_methods:remarks(...) end

---fig:save(path)
---Writes the figure as SVG or PNG, whole or not at all.
---@param path string ending in .svg or .png
---@return figure
---source: -
function figure_methods:save(...) end

---fig:svg{ theme =, width =, height = }
---The figure as an SVG document that needs nothing else. Text is laid out by the widths of DejaVu
---Sans, the widest of the fonts it names, so that none overlaps.
---opts.theme string =that of the figure: "light", "dark", or "auto": light, and dark for
---viewers that prefer it
---opts.width integer =that of the figure, pixels
---opts.height integer =that of the figure, pixels
---@return string
---source: -
function figure_methods:svg(...) end

---fig:text(columns, rows, { color = })
---The figure in braille dots.
---@param columns integer =72 at least 18 are taken
---@param rows integer =16 of a panel, at least 7 are taken
---opts.color boolean =false series in the terminal's 256 colours
---@return string lines of text
---source: -
function figure_methods:text(...) end
ml.fit = {}

---ml.fit.local_slopes(x, y, { window, log, range, sigma, weights })
---The slope of the line through each run of `window` consecutive points: local exponents, d log y
---/ d log x. Raises when a window has one x only.
---@param x list or tensor [n], any order; > 0 with log x
---@param y list or tensor [n], finite; > 0 with log y
---opts.window integer =3 points per slope, 2 to n
---opts.log string ="xy" axes that are logarithmic: "x", "y", "xy" or ""
---opts.range table ={ -inf, inf } { low, high }, ends included, in the unit of x
---opts.sigma list or tensor [n] =nil known standard errors of y; errors are then not
---rescaled by the residuals
---opts.weights list or tensor [n] =nil relative weights, >= 0; not beside sigma
---@return list slopes, n - window + 1 of them, ascending x
---@return list their standard errors; nan for windows of two without sigma; neighbours share
---points
---@return table info: x (list of centres: the mean of the window on the fitted axis), n
---source: moving least squares lines
ml.fit.local_slopes = function(...) end

---ml.fit.parabola(x, y, { log, points, maximum, range, sigma, weights, level })
---The x at which y is least, by a parabola through the points, as for the best learning rate:
---ml.fit.parabola(lr, loss, { log = "x", points = 3 }). Points whose y is not finite (diverged
---runs) are dropped and listed in info.dropped. When the parabola opens the wrong way or its
---vertex is not strictly between the least and largest x fitted, or with points when the least y
---is at an end, the result is nil, "not bracketed", info.
---@param x list or tensor [n], any order, several y at one x are allowed; > 0 with log x
---@param y list or tensor [n]; nan and infinities are dropped; > 0 with log y
---opts.log string ="" axes that are logarithmic: "x", "y", "xy" or ""
---opts.points integer =nil (all) odd, >= 3: fit only the x of the least y and (points -
---1)/2 neighbours on each side
---opts.maximum boolean =false look for the largest y instead
---opts.range table ={ -inf, inf } { low, high }, ends included, in the unit of x
---opts.sigma list or tensor [n] =nil known standard errors of y; errors are then not
---rescaled by the residuals
---opts.weights list or tensor [n] =nil relative weights, >= 0; not beside sigma
---opts.level number =0.95 of the interval, in (0, 1)
---@return number x of the optimum, in the unit of x, or nil with "not bracketed"
---@return number its standard error by the delta method, in the unit of x; nan with three points
---and no sigma
---@return table info: value (fitted y there) and value_stderr, curvature (second derivative in the
---fitted axes, natural logarithms) and curvature_stderr, log_stderr (of log x, with log x), low
---and high (interval of the optimum), reason (when not bracketed), dropped (list of x), and
---residual_std, r2, n, dof, x_min, x_max, predict, band, prediction_band as ml.fit.power_law has
---them
---source: vertex of least squares, delta method: Casella & Berger 2002, section 5.5.4
ml.fit.parabola = function(...) end

---ml.fit.power_law(x, y, { range, sigma, weights, level })
---Fits y = coefficient x^exponent by least squares of log y on log x. Points stay out of the fit
---when range excludes them or their weight is 0. The standard error comes from the residuals, or
---from sigma alone when sigma is given. With two points and no sigma it is nan: nothing is left to
---estimate it from. Raises for x or y in range that is not > 0 or not finite (naming the entry),
---and for lengths that disagree.
---@param x list or tensor [n], > 0, at least two different values
---@param y list or tensor [n], > 0, finite
---opts.range table ={ -inf, inf } { low, high }, ends included, in the unit of x: only
---these points are fitted
---opts.sigma list or tensor [n] =nil known standard errors of y; errors are then not
---rescaled by the residuals
---opts.weights list or tensor [n] =nil relative weights of log y, >= 0; not beside sigma
---opts.level number =0.95 of the intervals and bands
---@return number exponent
---@return number its standard error
---@return table info: coefficient (y at x = 1) and coefficient_stderr, low and high (the interval
---of the exponent), residual_std (of log y, natural), r2, n, dof, chi2 (with sigma), x_min, x_max,
---predict(x), band(x, level) -> low, high (of the fitted curve, Student t), prediction_band(x,
---level) (of one new point; absent with sigma); x of the three a number, a list or a tensor [m]
---source: ordinary least squares, Draper & Smith 1998, chapters 1 and 3
ml.fit.power_law = function(...) end

---ml.fit.quadratic_loglog(x, y, { holdout, range, sigma, weights, level })
---Fits log y = a + b log x + c (log x)^2 without the `holdout` points of largest x and predicts
---the last one: does what small models show foretell the large one? With holdout = 0 every point
---is fitted, and the first two results are nil.
---@param x list or tensor [n], > 0, any order
---@param y list or tensor [n], > 0, finite
---opts.holdout integer =1 how many points of largest x are kept out, >= 0; at least three
---different x remain
---opts.range table ={ -inf, inf } { low, high }, ends included, in the unit of x
---opts.sigma list or tensor [n] =nil known standard errors of y; errors are then not
---rescaled by the residuals
---opts.weights list or tensor [n] =nil relative weights of log y, >= 0; not beside sigma
---opts.level number =0.95 of the interval, in (0, 1)
---@return number prediction: y foretold at the largest x
---@return number its relative error: prediction / observed - 1
---@return table info: factor (the larger of prediction/observed and its inverse), holdout (list of
---{ x, observed, predicted, error, factor }, ascending x), coefficients { a, b, c } (natural
---logarithms), coefficient_stderrs, crossings(y) (list of the x where the fit reaches y,
---ascending; may be empty), and residual_std, r2, n, dof, x_min, x_max, predict, band,
---prediction_band as ml.fit.power_law has them
---source: log-log quadratic of Wortsman et al. 2023 (extrapolated instabilities); least squares
ml.fit.quadratic_loglog = function(...) end

---ml.fit.segmented(x, y, { breaks, at, log, range, sigma, weights, level })
---A continuous line of breaks + 1 pieces through the points, in log-log axes a broken power law:
---the slopes of the pieces and where they meet, by least squares over both. Breaks are sought
---among the interior points and then between them; every piece holds two different x at least.
---Standard errors include the breaks' uncertainty.
---@param x list or tensor [n], any order; > 0 with log x; at least 2 breaks + 2 different values
---@param y list or tensor [n], finite; > 0 with log y
---opts.breaks integer =1 0 to 4
---opts.at list =nil known breaks, in the unit of x, instead of sought ones
---opts.log string ="xy" axes that are logarithmic: "x", "y", "xy" or ""
---opts.range table ={ -inf, inf } { low, high }, ends included, in the unit of x
---opts.sigma list or tensor [n] =nil known standard errors of y; errors are then not
---rescaled by the residuals
---opts.weights list or tensor [n] =nil relative weights, >= 0; not beside sigma
---opts.level number =0.95 of the interval, in (0, 1)
---@return list slopes, ascending x
---@return list their standard errors; nan when no degree of freedom is left or a break cannot be
---told from the data
---@return table info: breaks (list, in the unit of x) and break_stderrs (0 for known ones), rss,
---bic (n log(rss/n) + p log n with p free parameters: compare numbers of breaks), and
---residual_std, r2, n, dof, x_min, x_max, predict, band, prediction_band as ml.fit.power_law has
---them
---source: Muggeo 2003; start by enumeration
ml.fit.segmented = function(...) end

---flatten(x, first, last)
---Joins the axes first..last into one.
---@param x tensor of any shape
---@param first integer =1 axis, from 1
---@param last integer =-1 axis, negative from the end
---@return tensor of x's shape with those axes as one, differentiable
---source: -
ml.flatten = function(...) end

---floor(x)
---The largest whole number not above x, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.floor = function(...) end

---full(shape, value, opts)
---A tensor filled with value.
---@param shape integer or table of sizes; options, value among them, may stand in the table
---@param value number of every entry
---opts.dtype string ="f64"
---@return tensor of that shape
---source: -
ml.full = function(...) end

---full_like(t, value, opts)
---A tensor of t's shape and dtype filled with value.
---@param t tensor of any shape
---@param value number of every entry
---opts.dtype string =t's
---@return tensor of t's shape
---source: -
ml.full_like = function(...) end

---gather(x, ids, axis)
---out[i][j] = x[ids[i][j]][j] for axis 1, and so on: ids takes x's place along axis.
---@param x tensor of any shape
---@param ids tensor index of x's rank, its shape apart from axis (or nested table of positions)
---@param axis integer from 1, negative from the end
---@return tensor of the shape of ids, differentiable
---source: PyTorch's gather
ml.gather = function(...) end

---ge(x, y)
---Where x >= y: 1, else 0; with broadcasting. NaN compares as in C.
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number (from 1 beside an index tensor)
---@return tensor u8 of the broadcast shape
---source: -
ml.ge = function(...) end

---gelu_erf(x)
---GELU, x/2 (1 + erf(x/sqrt(2))), element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.gelu_erf = function(...) end

---gelu_tanh(x)
---GELU in its tanh form, x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.gelu_tanh = function(...) end

---ml.gp{ kernel =, noise =, mode = }
---A Gaussian process with the kernel as its covariance; or the ensemble of wide networks that were
---trained to the end by gradient flow from random starts.
---opts.kernel function (X, X2) -> K (X2 is nil for K of X itself), or a kernel of ml.kernel
---opts.noise number =0 variance of the noise in y, >= 0
---opts.mode string ="nngp" "nngp" or "ntk", which kernel of ml.kernel is the covariance; or
---"ensemble", the mean and covariance of trained networks, for which noise is a ridge
---@return gp with fit(X, y), predict(X2, opts), log_marginal_likelihood(), save(path)
---source: Rasmussen & Williams 2006, Chapter 2; Lee et al. 2018; Lee et al. 2019
ml.gp = function(...) end
ml.gp = {}

---ml.gp.load(path, { kernel })
---A fitted process that was saved.
---@param path string
---opts.kernel function or kernel the one it was fitted with
---@return gp; or nil and a message when there is no such file
---source: -
ml.gp.load = function(...) end

---@class ml.gp
local gp_methods = {}

---gp:fit(X, y)
---Conditions the process on data.
---@param X tensor [n,...], a point each
---@param y tensor [n] or [n,c] of f32 or f64; the columns are independent processes
---@return gp itself, with jitter: what the factorization needed beyond the noise
---source: Rasmussen & Williams 2006, Algorithm 2.1
function gp_methods:fit(...) end

---gp:log_marginal_likelihood()
---log p(y | X), summed over the columns of y, with the noise (and the jitter) in the kernel.
---@return number
---@return number the same per entry of y
---source: Rasmussen & Williams 2006, Equation 2.30
function gp_methods:log_marginal_likelihood(...) end

---gp:predict(X2, { variance })
---Mean and covariance of the function (without the noise) at other points.
---@param X2 tensor [m,...], a point each
---opts.variance boolean =false only the diagonal of the covariance
---@return tensor mean [n2] or [n2,c] f64
---@return tensor covariance [n2,n2], or variances [n2]; the same for every column of y
---source: Rasmussen & Williams 2006, Equations 2.23 and 2.24
---source: Lee et al. 2019, Equation 15 (ensemble)
function gp_methods:predict(...) end

---gp:save(path)
---Writes what was fitted as safetensors; the kernel is given again when loading.
---@param path string
---source: -
function gp_methods:save(...) end

---grad_enabled()
---Whether operations on parameters are recorded.
---@return boolean
---source: -
ml.grad_enabled = function(...) end

---@class ml.graph
local graph_methods = {}

---graph:leaks({ share })
---Relations that give others away: q is the inverse of p where (o, q, s) stands for (s, p, o),
---symmetric when p = q, and a duplicate where (s, q, o) does. A split at random would put the
---answers of held-out prompts into the training text.
---opts.share number =0.05 of a relation's triplets from which on it counts as leaking
---@return table list of { predicate, other, kind = "inverse" or "duplicate", triplets, share },
---largest share first
---@return table info: triplets (that another one gives away), share (of all)
---source: Toutanova & Chen 2015 (inverse relations in FB15k); Dettmers et al. 2018
function graph_methods:leaks(...) end

---graph:prompt(subject, predicate)
---A prompt of the graph with its answers.
---@param subject string
---@param predicate string
---@return table { subject, predicate, objects, is, told }, or nil
---source: -
function graph_methods:prompt(...) end

---graph:split{ invisible =, partial =, seed =, withhold = }
---Splits by prompt, so that all objects of one stay together: a share of the subjects with all
---their prompts is invisible; of the others each prompt is partly visible with some probability
---(its subject is seen in other prompts); the rest is seen, that is trained on. Refuses a graph of
---which relations give each other away.
---opts.invisible number =0.1 share of the subjects
---opts.partial number =0.1 probability of a prompt of the others
---opts.seed integer =1 of the choice
---opts.withhold boolean =false prompts that give a held-out answer away, as an inverse or
---under another relation, are neither trained on nor asked
---@return split { seen, partial, invisible, withheld = lists of prompts, graph, seed }
---source: after Hron et al. 2024 (arXiv 2408.07852)
function graph_methods:split(...) end

---graph:statistics()
---How many answers prompts have, over all and by predicate.
---@return table { triplets, prompts, subjects, predicates, objects, duplicates, mean_answers,
---single (share of prompts with one answer), most (answers of a prompt), fanout (number of answers
----> prompts), characters (mean length of a triplet's three names), by_predicate = list of { name,
---triplets, prompts, objects, mean_answers, entropy (bits of its objects) } }
---source: -
function graph_methods:statistics(...) end

---graph:subset{ triplets =, seed = }
---The triplets of subjects chosen at random, until there are so many; a subject keeps all of its.
---opts.triplets integer >= 1
---opts.seed integer =1 of the choice
---@return graph
---source: -
function graph_methods:subset(...) end

---gt(x, y)
---Where x > y: 1, else 0; with broadcasting. NaN compares as in C.
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number (from 1 beside an index tensor)
---@return tensor u8 of the broadcast shape
---source: -
ml.gt = function(...) end

---help(x)
---Prints the help of a function, a name ("ml.zeros", "matmul") or a recipe.
---@param x function, string or object =nil without it: what the prompt can do
---source: -
function help(...) end

---index(values)
---A tensor of dtype index: positions, whole numbers from 1.
---@param values number, nested table of numbers, or tensor (converted, always a copy)
---@return tensor of the shape of the values
---source: -
ml.index = function(...) end

---index_select(x, ids, axis)
---The entries ids of an axis; the axis is replaced by the axes of ids.
---@param x tensor of any shape
---@param ids tensor index of any shape, or table of positions
---@param axis integer =1 from 1, negative from the end
---@return tensor of x's shape with the axes of ids in place of axis, differentiable
---source: NumPy's take
ml.index_select = function(...) end

---is_tensor(x)
---Whether x is a tensor, released ones included.
---@param x any
---@return boolean
---source: -
ml.is_tensor = function(...) end

---isfinite(x)
---1 where x is neither infinite nor NaN, else 0.
---@param x tensor, any shape
---@return tensor u8 of x's shape
---source: -
ml.isfinite = function(...) end

---isinf(x)
---1 where x is infinite, else 0.
---@param x tensor, any shape
---@return tensor u8 of x's shape
---source: -
ml.isinf = function(...) end

---isnan(x)
---1 where x is NaN, else 0.
---@param x tensor, any shape
---@return tensor u8 of x's shape
---source: -
ml.isnan = function(...) end
ml.json = {}

---json.array(t)
---Marks a table as an array, so that an empty one is written as [].
---@param t table =new
---@return table t
---source: -
ml.json.array = function(...) end

---json.decode(text, opts)
---The value of a JSON text, as json.read gives it.
---@param text string
---opts.nan string ="keep" "exact": undoes what { nan = "exact" } did when writing
---@return any
---source: -
ml.json.decode = function(...) end

---json.encode(value, opts)
---The JSON text of a value, as json.write writes it.
---@param value any
---opts.nan string ="raise" what a NaN or infinite number becomes: "null", "string" ("nan" "inf"
---"-inf"), "exact" (the same, and reading with { nan = "exact" } gives back every value: texts that
---look like these numbers get an apostrophe)
---opts.invalid string ="raise" what bytes that are no UTF-8 become: "replace" (U+FFFD)
---opts.indent integer spaces a level, 0 for one line; =0 for encode, =2 for write
---@return string
---source: -
ml.json.encode = function(...) end

---json.read(path, opts)
---The value in a JSON file. Numbers without fraction or exponent are integers; null is absent in
---objects and
---ml.json.null in arrays.
---@param path string
---opts.nan string ="keep" "exact": undoes what { nan = "exact" } did when writing
---@return any, or nil and a message when there is no such file
---Raises naming line and column when the file is no JSON.
---source: -
ml.json.read = function(...) end

---json.write(path, value, opts)
---Writes a JSON file, whole or not at all. Keys are sorted, integers exact, other numbers have 17
---digits. A table is an array when it holds 1..n, else an object; an empty one is an object unless
---ml.json.array marked it.
---@param path string
---@param value table, string, number, boolean, or ml.json.null
---opts.nan string ="raise" what a NaN or infinite number becomes: "null", "string" ("nan" "inf"
---"-inf"), "exact" (the same, and reading with { nan = "exact" } gives back every value: texts that
---look like these numbers get an apostrophe)
---opts.invalid string ="raise" what bytes that are no UTF-8 become: "replace" (U+FFFD)
---opts.indent integer spaces a level, 0 for one line; =0 for encode, =2 for write
---source: -
ml.json.write = function(...) end

---keep(t, ...)
---Takes tensors out of their scope: only the collector or t:release() frees them afterwards.
---@param t tensor of any shape, or table of tensors, at any depth
---@return ... any its arguments
---source: -
ml.keep = function(...) end
ml.kernel = {}

---ml.kernel.act(name, opts)
---An activation. By name: identity relu leaky_relu{slope} abs abrelu{a,b} step sign
---rectified_monomial{degree} monomial{degree} polynomial{coefficients} hermite{degree} erf{a,b,c}
---phi gelu sigmoid_like sigmoid tanh softplus silu elu{a} sin{a,b,c} cos{a,b,c} rbf{gamma}
---exp{a,b,c} gaussian{a,b,c} gabor exp_normalized{gamma}; a multiplies the function, b its
---argument, c is the phase of sin and cos and is added to the others. tanh, sigmoid, softplus,
---silu and elu have no closed form and go through series and quadrature, to 1e-9. Or a function
---tensor -> tensor made of ml's operations.
---@param name string or function(x), or nil with opts.dual
---opts.degree integer =64 of the Hermite series of a function, 0 to 200
---opts.breaks table where a function has kinks or jumps besides 0
---opts.method string ="hermite" (a truncated series for every norm) or "quadrature"
---opts.dual function(c, a, b) -> kappa, kappa_dot of f64 tensors of one shape
---opts.name string for messages
---@return layer for serial, with the method dual
---source: Cho & Saul 2009; Daniely et al. 2016; Han et al. 2022 (arXiv 2209.04121), Table 1
ml.kernel.act = function(...) end

---ml.kernel.avg_pool{ window, stride, padding }
---Means over windows of pixels; with "same" padding the divisor stays the whole window.
---opts.window integer or {height, width}, pixels
---opts.stride integer =window or a pair, pixels
---opts.padding string ="valid" or "same"
---@return layer for serial
---source: Novak et al. 2019
ml.kernel.avg_pool = function(...) end

---ml.kernel.conv{ kernel, stride, padding, w_std, b_std }
---A convolution with infinitely many channels, over images [N,H,W,C].
---opts.kernel integer or {height, width}, pixels
---opts.stride integer =1 or a pair, pixels
---opts.padding string ="same" (zeros; an odd pixel goes behind), "valid" or "circular"
---opts.w_std number =1 standard deviation of weights, times 1/sqrt(fan_in)
---opts.b_std number =0 standard deviation of biases, one a channel
---@return layer for serial
---source: Novak et al. 2019; Arora et al. 2019
ml.kernel.conv = function(...) end

---ml.kernel.dense{ w_std, b_std }
---A fully connected layer of infinite width.
---opts.w_std number =1 standard deviation of weights, times 1/sqrt(fan_in)
---opts.b_std number =0 standard deviation of biases
---@return layer for serial
---source: Lee et al. 2018; Jacot et al. 2018
ml.kernel.dense = function(...) end

---ml.kernel.empirical(net, X, X2)
---The tangent kernel of a network as it is: inner products of the gradients of its outputs over
---all parameters, averaged over the outputs.
---@param net module or function with parameters X -> [n] or [n,c]
---@param X tensor [n,...]
---@param X2 tensor [m,...] like X; absent: of X with itself
---@return tensor [n,m] of the network's dtype; raises when the gradients cannot fit into memory
---source: Jacot et al. 2018, Equation 4
ml.kernel.empirical = function(...) end

---ml.kernel.flatten()
---All pixels become features. Without pooling before it only pairs of equal pixels are computed.
---@return layer for serial
---source: Novak et al. 2019
ml.kernel.flatten = function(...) end

---ml.kernel.gap()
---The mean over all pixels: global average pooling.
---@return layer for serial
---source: Novak et al. 2019
ml.kernel.gap = function(...) end

---ml.kernel.hermite(act, { degree, breaks })
---The same activation by its Hermite series up to a degree, whose coefficients belong to each
---point's own norm: kappa = sum of alpha_k(sqrt a) alpha_k(sqrt b) rho^k.
---@param act layer of ml.kernel.act, a name, or a function(x)
---opts.degree integer =16 0 to 200
---opts.breaks table where it has kinks or jumps besides 0
---@return layer for serial, with the methods dual and coefficients
---source: Han et al. 2022 (arXiv 2209.04121), Theorem 2
ml.kernel.hermite = function(...) end

---ml.kernel.identity()
---What comes in goes out.
---@return layer for serial
---source: -
ml.kernel.identity = function(...) end

---ml.kernel.layer_norm()
---Layer norm over channels: both kernels are divided by sqrt(v v').
---@return layer for serial
---source: Novak et al. 2020 (arXiv 1912.02803)
ml.kernel.layer_norm = function(...) end

---ml.kernel.residual{ branch, other }
---The sum of two independent branches; without the other one, of the branch and its input.
---@param branches table one or two layers (serial makes one of several)
---@return layer for serial
---source: Novak et al. 2020 (arXiv 1912.02803)
ml.kernel.residual = function(...) end

---ml.kernel.serial{ layer, layer, ... }
---Layers one after the other: a kernel, and a layer for another serial.
---@param layers table of what the functions of ml.kernel return
---@return kernel with the methods nngp, ntk, both, finite
---source: Novak et al. 2020 (arXiv 1912.02803)
ml.kernel.serial = function(...) end

---@class ml.kernel
local kernel_methods = {}

---kernel:both(X, X2, { diagonal })
---NNGP and NTK at the cost of the second.
---@param X tensor [n,d] or [n,H,W,C], f64 or f32
---@param X2 tensor [m,...] like X; absent: of X with itself, at half the cost
---opts.diagonal boolean =false of each point with itself only
---@return tensor nngp [n,m], or [n] with diagonal
---@return tensor ntk [n,m], or [n] with diagonal; raises as nngp
---source: Jacot et al. 2018; Arora et al. 2019
function kernel_methods:both(...) end

---kernel:estimate(X, X2, { diagonal })
---What `both` would need, from the shapes alone; the layers are checked against X.
---@param X tensor [n,d] or [n,H,W,C], f64 or f32
---@param X2 tensor [m,...] like X; absent: of X with itself
---opts.diagonal boolean =false of each point with itself only
---@return table bytes (results, tables and scratch) and seconds (rough, of a machine like that of
---the benchmarks in the README)
---source: -
function kernel_methods:estimate(...) end

---kernel:finite{ inputs, width, dense_width, outputs, seed, dtype }
---A network of finite width with the same layers and parameterization, its weights and biases
---standard normal.
---opts.inputs integer features of a vector, or {H, W, C} of an image
---opts.width integer =512 of every dense layer but the last, and channels of every conv
---opts.dense_width integer =width of dense layers but the last, where it differs
---opts.outputs integer =1 of the last dense layer
---opts.seed integer =1 of every draw
---opts.dtype string ="f64"
---@return module of ml.nn
---source: Jacot et al. 2018, Section 2
function kernel_methods:finite(...) end

---kernel:nngp(X, X2, { diagonal })
---The covariance of the network's outputs over its random weights.
---@param X tensor [n,d] or [n,H,W,C], f64 or f32
---@param X2 tensor [m,...] like X; absent: of X with itself, at half the cost
---opts.diagonal boolean =false of each point with itself only
---@return tensor [n,m], or [n] with diagonal, of X's dtype; raises when it cannot fit into memory,
---when a layer does not fit to its input, and when variances leave the range of numbers
---source: Lee et al. 2018; Novak et al. 2019
function kernel_methods:nngp(...) end

---kernel:ntk(X, X2, { diagonal })
---The neural tangent kernel: the inner product of the gradients of one output over all weights
---and biases. For a network of several outputs it is this matrix times the identity.
---@param X tensor [n,d] or [n,H,W,C], f64 or f32
---@param X2 tensor [m,...] like X; absent: of X with itself, at half the cost
---opts.diagonal boolean =false of each point with itself only
---@return tensor [n,m], or [n] with diagonal, of X's dtype; raises as nngp
---source: Jacot et al. 2018; Arora et al. 2019
function kernel_methods:ntk(...) end
ml.kg = {}

---ml.kg.ask(target, prompts, { frame, graph, samples, temperature, greedy, max_tokens, stop,
---  seed })
---The answers of a target to the prompts of a split, with their verdicts. Names are compared
---without case, surrounding quotes and a full stop.
---@param target target of ml.target
---@param prompts list of prompts, as in split.seen
---opts.frame string what is asked, with slots {subject} and {predicate}
---opts.graph graph by which errors are told apart
---opts.samples integer =4 of each prompt
---opts.temperature number =1 >= 0
---opts.greedy boolean =false
---opts.max_tokens integer =16 of an answer
---opts.stop list of strings ={ "\n" }
---opts.seed integer =1 of what is drawn
---@return table as of ml.kg.sample, { object, kind, text } for each sample; ml.kg.judge takes it
---source: definitions after Hron et al. 2024 (arXiv 2408.07852)
ml.kg.ask = function(...) end

---ml.kg.batches(split, codec, { batch, packed, context, loss, seed })
---Batches of training triplets; each epoch is a new order of all of them.
---@param split split
---@param codec codec
---opts.batch integer =64 triplets of a batch, whether packed or not
---opts.packed boolean =false several triplets to a row; attention and positions restart
---with each
---opts.context integer =2 x codec.longest ids of a packed row
---opts.loss string ="all" tokens, or those of the "object"
---opts.seed integer =1 of the order
---@return table { per_epoch (batches), tokens (targets of an epoch that count), triplets,
---batch(self, i) -> { inputs, targets, mask, segments (packed) }, a pure function of i }
---source: -
ml.kg.batches = function(...) end

---ml.kg.codec(graph, { kind, size })
---How the names of a graph become tokens. A predicate is one token; a name is its words (split at
---spaces), its characters, or the pieces of byte-pair encoding learnt on the graph's names. All
---names of the graph are in it, also those that a split holds out: one codec serves all fractions.
---@param graph graph
---opts.kind string ="words", "chars" or "bpe"
---opts.size integer =512 pieces of byte-pair encoding
---@return codec { kind, vocab (number of ids), longest (ids of the longest triplet), start,
---predicate_at = { id -> predicate } }
---source: format: Hron et al. 2024 (arXiv 2408.07852); byte-pair encoding: Sennrich et al. 2016
ml.kg.codec = function(...) end

---ml.kg.constrained(lm, codec, prompts, { objects })
---Greedy answers that the trie allows: at each place the most likely token among those with which
---an object of the predicate goes on.
---@param lm decoder
---@param codec codec
---@param prompts list of prompts
---opts.objects function(prompt) -> list of objects; those of one list are put into a trie
---once
---@return table list over prompts of objects
---source: -
ml.kg.constrained = function(...) end

---ml.kg.controls(split)
---What a model without memory of subjects could do: the most frequent object of the predicate in
---the training text, and a draw from its objects as frequent as they are there.
---@param split split
---@return table { mode = { seen, partial, invisible }, draw = the same (rates of hallucination),
---objects (predicate -> its most frequent object), entropy (bits of the pools, mean over training
---triplets), floor (nats a triplet that the choice among right answers must cost), bits (of the
---graph: log2 of the ways to choose each prompt's answers from its pool) }
---source: -
ml.kg.controls = function(...) end

---ml.kg.curve(lm, codec, prompts, { temperatures, top_k, top_p, samples, rng, graph })
---Precision and recall over temperatures, and at temperature 1 over top-k and top-p.
---@param lm decoder
---@param codec codec
---@param prompts list of prompts
---opts.temperatures list ={ 0.25, 0.5, 1, 1.5 }
---opts.top_k list ={} of integers
---opts.top_p list ={} of numbers
---opts.samples integer =16 of each prompt
---opts.rng ml.rng whose key makes the samples
---opts.graph graph by which errors are told apart
---@return table list of { temperature, top_k, top_p, precision, recall, rate, several, kinds }, as
---ml.kg.judge has them
---source: Hron et al. 2024 (arXiv 2408.07852), precision and recall over temperature
ml.kg.curve = function(...) end

---ml.kg.evaluate(lm, codec, split, { samples, temperature, top_k, top_p, greedy, most, rng })
---The hallucination rates of the three sets of a split.
---@param lm decoder
---@param codec codec
---@param split split
---opts.samples integer =4 of each prompt
---opts.temperature number =1 > 0
---opts.top_k integer only the k most likely tokens
---opts.top_p number only the most likely tokens that hold this share
---opts.greedy boolean =false one answer, the most likely token at each place
---opts.most integer =all prompts of a set, the first so many of an order from the seed
---opts.rng ml.rng whose key makes the samples
---@return table { seen, partial, invisible } of what ml.kg.judge returns; a set without prompts is
---absent
---source: Hron et al. 2024 (arXiv 2408.07852)
ml.kg.evaluate = function(...) end

---ml.kg.graph(triplets, { names, collide })
---A graph from triplets. A triplet that stands twice counts once; a fourth entry is the object
---that the training text says in place of the true one.
---@param triplets list of { subject, predicate, object }, strings
---opts.names table =nil id -> the name that it goes by
---opts.collide string ="error" when two ids have one name, or "merge"
---@return graph { triplets, prompts = list of { subject, predicate, objects (list), is (object ->
---true), told (object -> true of what the text says) }, predicates (sorted), pools (predicate ->
---object -> triplets), entities (name -> true), subjects, objects (numbers of), duplicates }
---source: -
ml.kg.graph = function(...) end

---ml.kg.judge(prompts, samples, { graph })
---Rates of what ml.kg.sample returned.
---@param prompts list
---@param samples list over prompts of lists
---opts.graph graph for the rates by frequency
---@return table { rate (hallucinations), stderr (over prompts), precision = 1 - rate, recall
---(share of right answers that were given at least once), kinds (kind -> share of all samples),
---several = { prompts, precision, recall } of prompts with more than one answer, by_predicate,
---by_fanout and by_frequency (of the most frequent answer, powers of two) = key -> { prompts,
---samples, wrong, rate }, samples, prompts }
---source: Hron et al. 2024 (arXiv 2408.07852), precision and recall
ml.kg.judge = function(...) end

---ml.kg.load_split(graph, path)
---A split that split:save(path) wrote.
---@param graph graph that it was made of
---@param path string
---@return split, or nil and a message when there is no such file
---source: -
ml.kg.load_split = function(...) end

---ml.kg.loss(lm, codec, prompts, { on })
---The cross-entropy of a prompt's triplets, averaged over tokens.
---@param lm decoder
---@param codec codec
---@param prompts list of prompts, all objects of each
---opts.on string ="all" tokens after the first, or those of the "object"
---@return number nats a token
---source: -
ml.kg.loss = function(...) end

---ml.kg.ntriples(path, { names, labels, collide })
---A graph from N-Triples. An IRI goes by its last part (names = "local"), in full ("iri"), or by
---its rdfs:label; literals by their text, without language and type.
---@param path string
---opts.names string ="local" or "iri"
---opts.labels boolean =false rdfs:label names its subject, and is no triplet of the graph
---opts.collide string ="error" when two IRIs have one name, or "merge"
---@return graph, or nil and a message when there is no such file; a malformed line raises with its
---number and text
---source: W3C Recommendation RDF 1.1 N-Triples, 2014
ml.kg.ntriples = function(...) end

---ml.kg.probability(lm, codec, prompts, { temperature, answers })
---The exact probability that a sample is a right answer, whichever: the sum over the trie of the
---prompt's answers of the products of the model's probabilities. 1 minus their mean is the
---hallucination rate without the noise of sampling.
---@param lm decoder
---@param codec codec
---@param prompts list of prompts
---opts.temperature number =1 > 0
---opts.answers function(prompt) -> list of objects, =its right ones
---@return table list over prompts of numbers
---source: -
ml.kg.probability = function(...) end

---ml.kg.sample(lm, codec, prompts, { samples, temperature, top_k, top_p, greedy, max_new, rng,
---  graph })
---Answers that a model gives, with their verdicts. A prompt's samples depend on its place and the
---generator's key only.
---@param lm decoder
---@param codec codec
---@param prompts list of prompts, as in split.seen
---opts.samples integer =4 of each prompt
---opts.temperature number =1 > 0
---opts.top_k integer only the k most likely tokens
---opts.top_p number only the most likely tokens that hold this share
---opts.greedy boolean =false one answer, the most likely token at each place
---opts.max_new integer =longest answer that fits into a row
---opts.rng ml.rng whose key makes the samples
---opts.graph graph by which errors are told apart
---@return table list over prompts of lists of { object (nil where it is none), ids, kind (nil: a
---right answer; "told": what the text wrongly says; "right_type": another object of the predicate;
---"other_type": another entity; "invented": no entity; "unfinished"; "wrong" without a graph),
---logprobs (of its tokens, at temperature 1) }
---source: definitions after Hron et al. 2024 (arXiv 2408.07852)
ml.kg.sample = function(...) end

---ml.kg.synthetic{ subjects =, predicates =, per_subject =, pool =, zipf =, fanout =, collide =,
---  noise =, seed = }
---A graph of invented entities. Each predicate has a pool of objects of its own, drawn with Zipf
---weights; names have two or three of 120 syllables, no two entities the same one.
---opts.subjects integer =200 of them, 1 to 400000
---opts.predicates integer =10 of them, >= 1
---opts.per_subject integer =5 predicates of a subject, drawn at random
---opts.pool integer =200 objects of a predicate
---opts.zipf number =0.8 an object of rank r has weight r^-zipf
---opts.fanout table ={ 0.80, 0.12, 0.05, 0.03 } weights of 1, 2, ... objects for a prompt
---opts.collide number =0 share of subjects, up to 0.5, that have the name of another one
---(their answers merge)
---opts.noise number =0 share of triplets of which the training text has another object of
---the pool
---opts.seed integer =1 of all that is drawn
---@return graph
---source: after Hron et al. 2024 (arXiv 2408.07852), whose graph is not public
ml.kg.synthetic = function(...) end

---ml.kg.tokenizer(codec)
---The ids of a codec as words, so that a model of a graph can be served to other programs: a
---prompt is "<S> subject <P> predicate <O>", its answer ends with "<E>".
---@param codec codec of words
---@return tokenizer
---source: -
ml.kg.tokenizer = function(...) end

---ml.kg.train(split, codec, { size, epochs, batch, lr, packed, loss, seed, dir, ... })
---Trains a decoder on the seen triplets with AdamW (0.9, 0.98), 2 % of warm-up and a cosine to a
---tenth over all epochs, so that each number of epochs is a training of its own.
---@param split split
---@param codec codec
---opts.size string ="S"; XS 2 x 32, S 2 x 64, M 3 x 128, L 4 x 256 (depth x width)
---opts.width integer in place of the size's; and depth, heads (=4), lr (=3e-3, 2e-3, 1e-3,
---6e-4 by size)
---opts.epochs integer =100 passes over the triplets, >= 1
---opts.steps integer in place of epochs
---opts.batch integer =64 triplets
---opts.packed boolean =false several triplets to a row of opts.context ids
---opts.loss string ="all" tokens, or those of the "object"
---opts.weight_decay number =0.01 decoupled
---opts.seed integer =1 of initial values and order
---opts.dir string folder from which a second call goes on
---opts.log function(record) of each update
---@return decoder
---@return table { state, steps, epochs, N (parameters without embedding and head), parameters
---(all), tokens (D, of an epoch), compute = 6 N D epochs, loss (mean of the last twentieth),
---seconds }
---source: set-up: Hron et al. 2024 (arXiv 2408.07852); compute: Kaplan et al. 2020
ml.kg.train = function(...) end

---ml.kg.trie(codec, objects)
---The objects' ids, each with its end, by common beginnings.
---@param codec codec
---@param objects list of strings
---@return trie { answers, nodes, root }
---source: -
ml.kg.trie = function(...) end

---ml.kg.tsv(path)
---A graph from lines of subject, predicate and object between tabs; blank lines are passed over.
---@param path string
---@return graph, or nil and a message when there is no such file; a malformed line raises with its
---number and text
---source: -
ml.kg.tsv = function(...) end

---ml.kg.wordnet{ names =, relations =, dir = }
---WordNet 3.0's relations between synsets (Debian's wordnet-base). A synset goes by its first
---word, part of speech and a running number ("dog.n.1"), or by the word alone, in small letters:
---then senses merge.
---opts.names string ="synset" or "lemma"
---opts.relations string ="up": hypernyms, holonyms, domains, attributes, entailments and
---causes, of which only attributes have their inverses in the graph; "all": every relation and its
---inverse
---opts.dir string folder of data.noun, data.verb, data.adj and data.adv
---@return graph, or nil and a message when WordNet is not installed
---source: Fellbaum 1998; file format: wndb(5WN)
ml.kg.wordnet = function(...) end

---le(x, y)
---Where x <= y: 1, else 0; with broadcasting. NaN compares as in C.
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number (from 1 beside an index tensor)
---@return tensor u8 of the broadcast shape
---source: -
ml.le = function(...) end

---linspace(start, stop, opts)
---n equally spaced numbers, both ends included.
---@param start number first value
---@param stop number last value
---opts.n integer =50 (or the third argument)
---opts.dtype string ="f64" f64 or f32
---@return tensor [n]
---source: -
ml.linspace = function(...) end

---live_bytes()
---Bytes in blocks owned by tensors.
---@return integer
---source: -
ml.live_bytes = function(...) end

---load(path, opts)
---Reads a safetensors, npy, npz or IDX file; the content tells the format.
---float64 gives f64; float32, float16 and bfloat16 give f32; int64 gives index (stored value + 1;
---negatives raise), other
---integers f64, uint8 and bool u8.
---@param path string
---opts.as string ="stored" "f64" or "f32": every tensor as reals
---@return table name -> tensor of its shape in the file; from npy and IDX the tensor; nil and a
---message when there is no such file
---@return table metadata, string -> string
---Raises when the file is not what its format allows.
---source: huggingface/safetensors, Format; numpy.lib.format; LeCun, Cortes & Burges, The MNIST
---database
ml.load = function(...) end

---log(x)
---The natural logarithm, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.log = function(...) end

---log1p(x)
---log(1 + x), exact near 0, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.log1p = function(...) end

---log2(x)
---The logarithm to base 2, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.log2 = function(...) end

---log_softmax(x, axis)
---x - logsumexp(x) along axis.
---@param x tensor f32 or f64, any shape
---@param axis integer =-1 from 1, negative from the end
---@return tensor like x, differentiable
---source: -
ml.log_softmax = function(...) end

---logical_and(x, y)
---Where both are not 0: 1, else 0; with broadcasting.
---@param x tensor u8 of any shape
---@param y tensor u8 of any shape
---@return tensor u8 of the broadcast shape
---source: -
ml.logical_and = function(...) end

---logical_not(x)
---1 where x (u8) is 0, else 0.
---@param x tensor, any shape
---@return tensor u8 of x's shape
---source: -
ml.logical_not = function(...) end

---logical_or(x, y)
---Where either is not 0: 1, else 0; with broadcasting.
---@param x tensor u8 of any shape
---@param y tensor u8 of any shape
---@return tensor u8 of the broadcast shape
---source: -
ml.logical_or = function(...) end

---logical_xor(x, y)
---Where one of both is not 0: 1, else 0; with broadcasting.
---@param x tensor u8 of any shape
---@param y tensor u8 of any shape
---@return tensor u8 of the broadcast shape
---source: -
ml.logical_xor = function(...) end

---logsumexp(x, axes, opts)
---log(sum(exp(x))), without overflow over the given axes, or over all elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---@return tensor of x's shape without the reduced axes, 0-d over all, differentiable
---source: -
ml.logsumexp = function(...) end

---lt(x, y)
---Where x < y: 1, else 0; with broadcasting. NaN compares as in C.
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number (from 1 beside an index tensor)
---@return tensor u8 of the broadcast shape
---source: -
ml.lt = function(...) end

---matmul(a, b)
---The matrix product of the last two axes; leading axes broadcast, vectors are rows on the left and
---columns on the right.
---@param a tensor [...,m,k] or [k], f32 or f64
---@param b tensor [...,k,n] or [k], the same dtype
---@return tensor [...,m,n], differentiable
---source: -
ml.matmul = function(...) end

---matmul_precision(precision)
---Allows f32 products to be computed in less than f32, with sums in f32, on processors where that
---is faster. At "high" factors are sums of two bf16 (relative error 2^-16 each), on the matrix
---units of
---AMX; at "medium" they are rounded to bf16 (2^-8), there or by AVX512-BF16 on AMD.
---@param precision string =nil "highest", "high" or "medium"; absent: only asks
---@return string the setting, at first "highest"
---@return string what the factors of f32 products are now, "f32", "bf16x2" or "bf16"
---source: torch.set_float32_matmul_precision
ml.matmul_precision = function(...) end

---max(x, axes, opts)
---The largest value, NaN when there is one; equals share the gradient; over the given axes, or over
---all elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---@return tensor of x's shape without the reduced axes, 0-d over all, differentiable
---source: -
ml.max = function(...) end

---maximum(x, y)
---The larger of x and y, NaN when either is, element by element, with broadcasting (trailing axes
---align; each equal or 1).
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number
---@return tensor of the broadcast shape, differentiable
---source: -
ml.maximum = function(...) end

---mean(x, axes, opts)
---The mean (of u8: a share, in f64) over the given axes, or over all elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---@return tensor of x's shape without the reduced axes, 0-d over all, differentiable
---source: -
ml.mean = function(...) end

---memory(opts)
---What the storages of tensors take.
---opts.limit integer bytes; 0: back to 90 % of what is available
---opts.reset_peak boolean =false
---@return table { live, cached, peak, limit in bytes, system_allocations: requests to the system so
---far }
---source: -
ml.memory = function(...) end

---min(x, axes, opts)
---The least value, NaN when there is one; equals share the gradient; over the given axes, or over
---all elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---@return tensor of x's shape without the reduced axes, 0-d over all, differentiable
---source: -
ml.min = function(...) end

---minimum(x, y)
---The smaller of x and y, NaN when either is, element by element, with broadcasting (trailing axes
---align; each equal or 1).
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number
---@return tensor of the broadcast shape, differentiable
---source: -
ml.minimum = function(...) end

---@class ml.module
local module_methods = {}

---net:load(path)
---Takes over parameters, multipliers and buffers from a file that save wrote; nothing changes
---unless all of them fit.
---@param path string
---@return module itself, or nil and a message when there is no such file
---source: -
function module_methods:load(...) end

---net:multiplier(name, value)
---The constant by which the forward pass multiplies a parameter of Linear, Embedding, LayerNorm or
---RMSNorm, or of a decoder inside; kept by save.
---@param name string as named_parameters() has it
---@param value number absent: only asks
---@return number
---source: -
function module_methods:multiplier(...) end

---net:named_buffers()
---All tensors of a module that are not parameters.
---@return table name -> tensor of any shape
---source: PyTorch's name
function module_methods:named_buffers(...) end

---net:named_parameters()
---All parameters of a module and of the modules inside it; a shared one stands once, under its
---first name.
---@return table name ("1.weight") -> parameter
---source: PyTorch's name
function module_methods:named_parameters(...) end

---net:named_rngs()
---The random generators inside a module (dropout's).
---@return table name -> rng
---source: -
function module_methods:named_rngs(...) end

---net:parameters()
---The parameters in the order of their names.
---@return table list of parameters
---source: PyTorch's name
function module_methods:parameters(...) end

---net:save(path)
---Writes parameters, multipliers and buffers to a safetensors file, whole or not at all.
---@param path string
---source: -
function module_methods:save(...) end

---net:training(on)
---Switches a module and those inside it between training and evaluation (dropout is off in
---evaluation).
---@param on boolean absent: only asks
---@return boolean whether it is in training
---source: PyTorch's train() and eval()
function module_methods:training(...) end

---net:zero_grad()
---Fills the gradients of all parameters with zeros.
---source: PyTorch's name
function module_methods:zero_grad(...) end

---mul(x, y)
---x * y, element by element, with broadcasting (trailing axes align; each equal or 1).
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number
---@return tensor of the broadcast shape, differentiable
---source: -
ml.mul = function(...) end

---narrow(x, axis, range)
---Positions first..last of one axis. Shares storage.
---@param x tensor of any shape
---@param axis integer from 1, negative from the end
---@param range table {first, last}, both included
---@return tensor of x's shape with last - first + 1 entries along axis, differentiable
---source: -
ml.narrow = function(...) end

---ne(x, y)
---Where x differs from y: 1, else 0; with broadcasting. NaN compares as in C.
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number (from 1 beside an index tensor)
---@return tensor u8 of the broadcast shape
---source: -
ml.ne = function(...) end

---neg(x)
----x.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.neg = function(...) end
ml.nn = {}

---ml.nn.AvgPool2d{ kernel =, stride =, padding = }
---Means over windows of images [N, H, W, C].
---opts.kernel integer or {height, width}
---opts.stride integer =kernel or a pair
---opts.padding string ="valid" or "same" (means over the pixels that exist)
---@return module
---source: -
ml.nn.AvgPool2d = function(...) end

---ml.nn.Conv2d{ in_channels, out_channels, kernel =, stride =, padding =, bias =, init =, dtype =,
---  seed | rng = }
---Convolution of images [N, H, W, C].
---opts[1] integer input channels
---opts[2] integer output channels
---opts.kernel integer or {height, width}
---opts.stride integer =1 or a pair
---opts.padding string ="valid" or "same"
---@return module with weight [kh, kw, in, out]; fan_in is kh kw in
---source: LeCun et al. 1989
ml.nn.Conv2d = function(...) end

---ml.nn.Dropout{ p, seed | rng = }
---In training each element is zero with probability p, else divided by 1 - p.
---opts[1] number p in [0, 1)
---opts.seed integer =1 of its own stream
---@return module
---source: Srivastava et al. 2014
ml.nn.Dropout = function(...) end

---ml.nn.Embedding{ vocab, width, init =, dtype =, seed | rng = }
---Rows of a table by id.
---opts[1] integer vocab
---opts[2] integer width
---opts.init string =std 1/sqrt(width), or as in ml.nn.Linear
---@return module with weight [vocab, width]; ids index [...] -> [..., width]
---source: -
ml.nn.Embedding = function(...) end

---ml.nn.GELU() GELUErf() SiLU() ReLU() ReLU2() Softplus() Tanh() Sigmoid() Sin() Erf()
---An activation as a module: element by element, without parameters (GELU is the tanh form).
---@return module
---source: Hendrycks & Gimpel 2016 (GELU, SiLU); So et al. 2021 (squared ReLU)
ml.nn.Erf = function(...) end

---ml.nn.Flatten()
---[N, ...] -> [N, product].
---@return module
---source: -
ml.nn.Flatten = function(...) end

---ml.nn.GELU() GELUErf() SiLU() ReLU() ReLU2() Softplus() Tanh() Sigmoid() Sin() Erf()
---An activation as a module: element by element, without parameters (GELU is the tanh form).
---@return module
---source: Hendrycks & Gimpel 2016 (GELU, SiLU); So et al. 2021 (squared ReLU)
ml.nn.GELU = function(...) end

---ml.nn.GELU() GELUErf() SiLU() ReLU() ReLU2() Softplus() Tanh() Sigmoid() Sin() Erf()
---An activation as a module: element by element, without parameters (GELU is the tanh form).
---@return module
---source: Hendrycks & Gimpel 2016 (GELU, SiLU); So et al. 2021 (squared ReLU)
ml.nn.GELUErf = function(...) end

---ml.nn.GlobalAvgPool()
---Means over all positions: [N, H, W, C] -> [N, C].
---@return module
---source: Lin et al. 2014
ml.nn.GlobalAvgPool = function(...) end

---ml.nn.LayerNorm{ width, shift =, eps =, dtype = }
---Layer normalisation over the last axis.
---opts[1] integer width
---opts.shift boolean =true
---opts.eps number =1e-6 inside the root
---@return module with gain [width], shift [width]
---source: Ba et al. 2016
ml.nn.LayerNorm = function(...) end

---ml.nn.Linear{ fan_in, fan_out, bias =, init =, dtype =, seed | rng = }
---y = x W + b over the last axis.
---opts[1] integer fan_in
---opts[2] integer fan_out
---opts.bias boolean =true b [fan_out], zeros at first
---opts.init string ="lecun_normal" (std 1/sqrt(fan_in)), truncated_normal, he_normal,
---xavier_uniform, torch, zeros; or a std; or function(rng, shape, fan_in, fan_out)
---opts.dtype string ="f32"
---@return module with weight [fan_in, fan_out]
---source: -
ml.nn.Linear = function(...) end

---ml.nn.LocallyConnected2d{ in_channels, out_channels, input = {H, W}, kernel =, stride =,
---  padding =, bias =, init =, dtype =, seed | rng = }
---A convolution whose weights are not shared over positions.
---opts.input table {height, width} of the images it will see
---opts.kernel integer or {height, width}
---@return module with weight [H', W', kh kw in, out]
---source: LeCun 1989
ml.nn.LocallyConnected2d = function(...) end

---ml.nn.Module{ name = parameter | module | value, ..., forward = function(self, x) ... end }
---A module of one's own: its parameters are the ml.param tensors and modules among its fields
---(tables are searched too).
---@param fields table the fields and the forward function
---@return module called like a function
---source: PyTorch's Module
ml.nn.Module = function(...) end

---ml.nn.RMSNorm{ width, eps =, dtype = }
---Division by the root mean square over the last axis.
---opts[1] integer width
---opts.eps number =1e-6 inside the root
---@return module with gain [width]
---source: Zhang & Sennrich 2019
ml.nn.RMSNorm = function(...) end

---ml.nn.GELU() GELUErf() SiLU() ReLU() ReLU2() Softplus() Tanh() Sigmoid() Sin() Erf()
---An activation as a module: element by element, without parameters (GELU is the tanh form).
---@return module
---source: Hendrycks & Gimpel 2016 (GELU, SiLU); So et al. 2021 (squared ReLU)
ml.nn.ReLU = function(...) end

---ml.nn.GELU() GELUErf() SiLU() ReLU() ReLU2() Softplus() Tanh() Sigmoid() Sin() Erf()
---An activation as a module: element by element, without parameters (GELU is the tanh form).
---@return module
---source: Hendrycks & Gimpel 2016 (GELU, SiLU); So et al. 2021 (squared ReLU)
ml.nn.ReLU2 = function(...) end

---ml.nn.Sequential{ module | function, ... }
---Modules (or plain functions) one after another.
---@param modules table list
---@return module; net[i] is the i-th
---source: -
ml.nn.Sequential = function(...) end

---ml.nn.GELU() GELUErf() SiLU() ReLU() ReLU2() Softplus() Tanh() Sigmoid() Sin() Erf()
---An activation as a module: element by element, without parameters (GELU is the tanh form).
---@return module
---source: Hendrycks & Gimpel 2016 (GELU, SiLU); So et al. 2021 (squared ReLU)
ml.nn.SiLU = function(...) end

---ml.nn.GELU() GELUErf() SiLU() ReLU() ReLU2() Softplus() Tanh() Sigmoid() Sin() Erf()
---An activation as a module: element by element, without parameters (GELU is the tanh form).
---@return module
---source: Hendrycks & Gimpel 2016 (GELU, SiLU); So et al. 2021 (squared ReLU)
ml.nn.Sigmoid = function(...) end

---ml.nn.GELU() GELUErf() SiLU() ReLU() ReLU2() Softplus() Tanh() Sigmoid() Sin() Erf()
---An activation as a module: element by element, without parameters (GELU is the tanh form).
---@return module
---source: Hendrycks & Gimpel 2016 (GELU, SiLU); So et al. 2021 (squared ReLU)
ml.nn.Sin = function(...) end

---ml.nn.GELU() GELUErf() SiLU() ReLU() ReLU2() Softplus() Tanh() Sigmoid() Sin() Erf()
---An activation as a module: element by element, without parameters (GELU is the tanh form).
---@return module
---source: Hendrycks & Gimpel 2016 (GELU, SiLU); So et al. 2021 (squared ReLU)
ml.nn.Softplus = function(...) end

---ml.nn.GELU() GELUErf() SiLU() ReLU() ReLU2() Softplus() Tanh() Sigmoid() Sin() Erf()
---An activation as a module: element by element, without parameters (GELU is the tanh form).
---@return module
---source: Hendrycks & Gimpel 2016 (GELU, SiLU); So et al. 2021 (squared ReLU)
ml.nn.Tanh = function(...) end

---nn.activation(x, name)
---An activation by name, element by element.
---@param x tensor f32 or f64 of any shape
---@param name string identity, gelu_tanh, gelu_erf, relu, relu2, silu, softplus, tanh, sigmoid, sin
---or erf
---@return tensor like x, differentiable
---source: Hendrycks & Gimpel 2016 (GELU), So et al. 2021 (relu2)
ml.nn.activation = function(...) end

---nn.attention(q, k, v, opts)
---softmax(scale q k^T) v in each head, by blocks: the scores of all heads never exist at once.
---@param q tensor [B,T,H,D]
---@param k tensor [B,T,H,D]
---@param v tensor [B,T,H,D]
---opts.causal boolean =true a query sees itself and earlier keys
---opts.segments tensor index [B,T] pairs of unequal segments do not see each other; what is masked
---gives nothing, NaN neither
---opts.scale number =1/sqrt(D) factor of the logits
---opts.probe boolean =false
---@return tensor [B,T,H,D], differentiable
---@return table with probe: { max_logit, max_abs_logit, entropy (nats, mean over queries) }
---source: Vaswani et al. 2017; Dao et al. 2022
ml.nn.attention = function(...) end

---nn.avg_pool2d(x, opts)
---Means over windows; at a padded edge over the pixels that exist.
---@param x tensor [N,H,W,C]
---opts.kernel integer or {kh, kw}
---opts.stride integer or pair =kernel
---opts.padding string ="valid" or "same"
---@return tensor [N,H',W',C], differentiable
---source: LeCun et al. 1989
ml.nn.avg_pool2d = function(...) end

---nn.conv2d(x, W, opts)
---Convolution (cross-correlation) of images.
---@param x tensor [N,H,W,C]
---@param W tensor [kh,kw,C,O]
---opts.bias tensor [O]
---opts.stride integer =1 or {height, width}
---opts.padding string ="valid" or "same" (size / stride rounded up; the odd pixel of padding at the
---end)
---@return tensor [N,H',W',O], differentiable
---source: LeCun et al. 1989
ml.nn.conv2d = function(...) end

---nn.cross_entropy(logits, targets, opts)
---Cross-entropy with a term in log Z = logsumexp(logits) and weights.
---@param logits tensor [...,V]
---@param targets tensor index [...], or nested table of positions
---opts.mask tensor like targets, real weights w of any sign; absent: 1
---opts.z_loss number =0 weight of (log Z)^2, >= 0
---@return tensor 0-d, sum(w (ce + z_loss logZ^2)) / count(w ~= 0), nats; 0 when nothing counts;
---differentiable
---@return table { ce, mean_logz, mean_logz2, logit_mean, count }
---source: Chowdhery et al. 2022 (z term)
ml.nn.cross_entropy = function(...) end

---nn.dropout(x, p, opts)
---Each element becomes 0 with probability p, else x / (1 - p); advances the generator.
---@param x tensor f32 or f64, any shape
---@param p number 0 <= p < 1
---opts.rng rng
---@return tensor like x, differentiable
---source: Srivastava et al. 2014
ml.nn.dropout = function(...) end

---nn.embedding(table, ids, opts)
---Rows of a table by id, plus rows of a second table by position.
---@param table tensor [V,d]
---@param ids tensor index [...], or nested table of ids from 1
---opts.positions_table tensor [P,d]
---opts.positions tensor index like ids
---@return tensor [...,d], differentiable
---source: -
ml.nn.embedding = function(...) end

---nn.global_avg_pool(x)
---Means over all positions.
---@param x tensor [N,H,W,C]
---@return tensor [N,C], differentiable
---source: Lin, Chen & Yan 2013
ml.nn.global_avg_pool = function(...) end

---ml.nn.is_module(x)
---Whether x is a module, of ml.nn or made by ml.nn.Module.
---@param x any
---@return boolean
---source: -
ml.nn.is_module = function(...) end

---nn.layer_norm(x, opts)
---(x - mean) / sqrt(var + eps) * gain + shift over the last axis, population variance.
---@param x tensor [...,D]
---opts.gain tensor [D]
---opts.shift tensor [D]
---opts.eps number =1e-6 added to the variance inside the root, >= 0
---@return tensor like x, differentiable
---source: Ba, Kiros & Hinton 2016
ml.nn.layer_norm = function(...) end

---nn.linear(x, W, opts)
---act(x W + b) over the last axis.
---@param x tensor [...,K] f32 or f64
---@param W tensor [K,N]; [N,K] when transposed
---opts.bias tensor [N]
---opts.activation string ="identity" identity, gelu_tanh, gelu_erf, relu, relu2, silu, softplus,
---tanh, sigmoid, sin or erf
---opts.transposed boolean =false y = x W^T
---@return tensor [...,N], differentiable
---source: -
ml.nn.linear = function(...) end

---nn.linear_cross_entropy(x, W, targets, opts)
---Cross-entropy of logits multiplier (x W + b), by blocks of rows: the logits are never stored
---whole.
---@param x tensor [...,K]
---@param W tensor [K,V]; [V,K] when transposed
---@param targets tensor index [...], or nested table of positions
---opts.bias tensor [V]
---opts.transposed boolean =false
---opts.multiplier number =1 of the logits
---opts.mask tensor like targets, real weights w of any sign; absent: 1
---opts.z_loss number =0 weight of (log Z)^2, >= 0
---@return tensor 0-d, sum(w (ce + z_loss logZ^2)) / count(w ~= 0), nats; 0 when nothing counts;
---differentiable
---@return table { ce, mean_logz, mean_logz2, logit_mean, count }
---source: Chowdhery et al. 2022 (z term)
ml.nn.linear_cross_entropy = function(...) end

---nn.locally_connected2d(x, W, opts)
---A convolution whose weights are not shared between positions.
---@param x tensor [N,H,W,C]
---@param W tensor [H',W',kh*kw*C,O], rows in the order kh, kw, C
---opts.kernel integer or {kh, kw}
---opts.bias tensor [H',W',O]
---opts.stride integer =1 or {height, width}
---opts.padding string ="valid" or "same" (size / stride rounded up; the odd pixel of padding at the
---end)
---@return tensor [N,H',W',O], differentiable
---source: LeCun 1989
ml.nn.locally_connected2d = function(...) end

---nn.mlp(x, opts)
---act(x w1 + b1) w2 + b2 by blocks of rows; only x and x w1 + b1 are kept for the gradient.
---@param x tensor [...,K]
---opts.w1 tensor [K,M]
---opts.b1 tensor [M]
---opts.w2 tensor [M,N]
---opts.b2 tensor [N]
---opts.activation string ="identity" identity, gelu_tanh, gelu_erf, relu, relu2, silu, softplus,
---tanh, sigmoid, sin or erf
---@return tensor [...,N], differentiable
---source: -
ml.nn.mlp = function(...) end

---nn.rms_norm(x, opts)
---x / sqrt(mean(x^2) + eps) * gain over the last axis.
---@param x tensor [...,D]
---opts.gain tensor [D]
---opts.eps number =1e-6 added to the variance inside the root, >= 0
---@return tensor like x, differentiable
---source: Zhang & Sennrich 2019
ml.nn.rms_norm = function(...) end

---nn.rotary(x, opts)
---Rotates pairs of channels by position * base^(-2i/D).
---@param x tensor [B,T,H,D], D even
---opts.positions tensor index [B,T] =1..T
---opts.base number =1e4 of the geometric series of wavelengths, > 0
---opts.pairing string ="half" (i, i + D/2) or "interleaved" (2i - 1, 2i)
---@return tensor like x, differentiable
---source: Su et al. 2021
ml.nn.rotary = function(...) end

---ml.nn.seed(seed)
---Starts anew the stream from which modules draw initial values when neither seed nor rng is given
---(it starts at seed 1).
---@param seed integer of 64 bits
---source: torch.manual_seed
ml.nn.seed = function(...) end

---no_grad(f, ...)
---Runs f(...) at once with recording switched off, and returns its results. Inside, parameters may
---be changed in place.
---@param f function
---@return ... any the results of f
---source: -
ml.no_grad = function(...) end

---norm(x, axes, opts)
---The Euclidean norm sqrt(sum(x^2)), of gradient 0 where it is 0, over the given axes, or over all
---elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---@return tensor of x's shape without the reduced axes, 0-d over all, differentiable
---source: -
ml.norm = function(...) end

---now()
---A clock that never goes back.
---@return number seconds
---source: -
ml.now = function(...) end

---one_hot(ids, classes, opts)
---1 at position ids of a new last axis, else 0.
---@param ids tensor index of any shape, or table of positions
---@param classes integer size of the new axis, >= 1
---opts.dtype string ="f64" f64, f32 or u8
---@return tensor [...,classes]
---source: -
ml.one_hot = function(...) end

---ones(shape, opts) ones(rows, columns, opts)
---A tensor filled with 1.
---@param shape integer or table of sizes, or two integers; options may stand in the table
---opts.dtype string ="f64" f64, f32, index or u8
---@return tensor of that shape
---source: -
ml.ones = function(...) end

---ones_like(t, opts)
---Ones of t's shape and dtype.
---@param t tensor of any shape
---opts.dtype string =t's
---@return tensor of t's shape
---source: -
ml.ones_like = function(...) end
ml.optim = {}

---ml.optim.adafactor(params, { lr, factored, min_dim, clip, decay_exponent, eps1, eps2,
---scale_parameter, weight_decay, decay })
---Adafactor without momentum; matrices whose sides are both >= min_dim keep factored second
---moments; a tensor of more axes is the matrix [product of its leading axes, last axis].
---@param params table array of parameters, name -> parameter, or groups { { params =, name =,
---lr_scale =, eps_scale =, decay_scale = }, ... }
---opts.lr number =1e-2, times max(RMS(w), eps2) when scale_parameter
---opts.factored boolean =true
---opts.min_dim integer =128 least size of both axes that is factored
---opts.clip number =1 largest RMS of the update
---opts.decay_exponent number =0.8 b2_t = 1 - t^-0.8
---opts.eps1 number =1e-30 added to squared gradients
---opts.eps2 number =1e-3 least RMS of a parameter that scales the step
---opts.scale_parameter boolean =true
---opts.weight_decay number lambda >= 0, on every tensor of a group
---opts.decay string independent: w -= s lambda w | decoupled: w -= s lr lambda w | coupled: g +=
---lambda w
---@return optimizer with step, zero_grad, state, load_state, options
---source: Shazeer & Stern 2018
ml.optim.adafactor = function(...) end

---ml.optim.adam(params, { lr, betas, eps, weight_decay, decay, update_clip })
---Adam: w -= lr m_hat / (sqrt(v_hat) + eps); its decay is coupled unless said.
---In f32 the squares of gradients lose digits below 1e-19 and are 0 below 1e-22; scale the loss or
---keep parameters that far from 1 in f64.
---@param params table array of parameters, name -> parameter, or groups { { params =, name =,
---lr_scale =, eps_scale =, decay_scale = }, ... }
---opts.lr number =1e-3 learning rate, >= 0
---opts.betas table ={0.9, 0.999}
---opts.eps number =1e-8 added to the root of the second moment, in the unit of a gradient, >= 0
---opts.update_clip boolean =false divide the step by max(1, RMS(g / sqrt(max(v_hat, eps^2)))), per
---tensor
---opts.weight_decay number lambda >= 0, on every tensor of a group
---opts.decay string independent: w -= s lambda w | decoupled: w -= s lr lambda w | coupled: g +=
---lambda w
---@return optimizer with step, zero_grad, state, load_state, options
---source: Kingma & Ba 2015
ml.optim.adam = function(...) end

---ml.optim.adam_atan2(params, { lr, betas, a, b, weight_decay, decay })
---Adam without epsilon: w -= lr a atan2(m_hat, b sqrt(v_hat)).
---In f32 the squares of gradients lose digits below 1e-19 and are 0 below 1e-22; scale the loss or
---keep parameters that far from 1 in f64.
---@param params table array of parameters, name -> parameter, or groups { { params =, name =,
---lr_scale =, eps_scale =, decay_scale = }, ... }
---opts.lr number =1e-3 learning rate, >= 0
---opts.betas table ={0.9, 0.95}
---opts.a number =1.27 factor before atan2
---opts.b number =1 factor of the root inside atan2
---opts.weight_decay number lambda >= 0, on every tensor of a group
---opts.decay string independent: w -= s lambda w | decoupled: w -= s lr lambda w | coupled: g +=
---lambda w
---@return optimizer with step, zero_grad, state, load_state, options
---source: Everett et al. 2024
ml.optim.adam_atan2 = function(...) end

---ml.optim.adam_ps(params, { lr, betas, eps, floor, weight_decay, decay })
---Adam with parameter scaling: the step is multiplied by max(RMS(w), floor), per tensor.
---In f32 the squares of gradients lose digits below 1e-19 and are 0 below 1e-22; scale the loss or
---keep parameters that far from 1 in f64.
---@param params table array of parameters, name -> parameter, or groups { { params =, name =,
---lr_scale =, eps_scale =, decay_scale = }, ... }
---opts.lr number =1e-3 learning rate, >= 0
---opts.betas table ={0.9, 0.95}
---opts.eps number =1e-8 added to the root of the second moment, in the unit of a gradient, >= 0
---opts.floor number =1e-3 least RMS of a parameter that scales the step
---opts.weight_decay number lambda >= 0, on every tensor of a group
---opts.decay string independent: w -= s lambda w | decoupled: w -= s lr lambda w | coupled: g +=
---lambda w
---@return optimizer with step, zero_grad, state, load_state, options
---source: Everett et al. 2024
ml.optim.adam_ps = function(...) end

---ml.optim.adamw(params, { lr, betas, eps, weight_decay, decay, update_clip })
---Adam with weight decay beside the update; independent of the learning rate unless said.
---In f32 the squares of gradients lose digits below 1e-19 and are 0 below 1e-22; scale the loss or
---keep parameters that far from 1 in f64.
---@param params table array of parameters, name -> parameter, or groups { { params =, name =,
---lr_scale =, eps_scale =, decay_scale = }, ... }
---opts.lr number =1e-3 learning rate, >= 0
---opts.betas table ={0.9, 0.95}
---opts.eps number =1e-8 added to the root of the second moment, in the unit of a gradient, >= 0
---opts.update_clip boolean =false divide the step by max(1, RMS(g / sqrt(max(v_hat, eps^2)))), per
---tensor
---opts.weight_decay number lambda >= 0, on every tensor of a group
---opts.decay string independent: w -= s lambda w | decoupled: w -= s lr lambda w | coupled: g +=
---lambda w
---@return optimizer with step, zero_grad, state, load_state, options
---source: Loshchilov & Hutter 2019; Wortsman et al. 2023
ml.optim.adamw = function(...) end

---ml.optim.clip_grad_norm(params, max_norm)
---When the Euclidean norm of all gradients exceeds max_norm, multiplies them by max_norm / norm.
---@param params table array or name -> parameter; those without a gradient are skipped
---@param max_norm number > 0
---@return number the norm before; nothing is multiplied when a gradient is not finite
---source: Pascanu et al. 2013
ml.optim.clip_grad_norm = function(...) end

---ml.optim.lion(params, { lr, betas, weight_decay })
---Lion: w -= lr (sign(b1 m + (1 - b1) g) + lambda w), m = b2 m + (1 - b2) g.
---@param params table array of parameters, name -> parameter, or groups { { params =, name =,
---lr_scale =, eps_scale =, decay_scale = }, ... }
---opts.lr number =1e-4 learning rate, >= 0
---opts.betas table ={0.9, 0.99}
---opts.weight_decay number =0 decoupled
---@return optimizer with step, zero_grad, state, load_state, options
---source: Chen et al. 2023
ml.optim.lion = function(...) end

---ml.optim.sgd(params, { lr, momentum, nesterov, weight_decay, decay })
---Stochastic gradient descent: u = momentum u + g, w -= lr u.
---@param params table array of parameters, name -> parameter, or groups { { params =, name =,
---lr_scale =, eps_scale =, decay_scale = }, ... }
---opts.lr number =1e-3 learning rate, >= 0
---opts.momentum number =0 share of the last step that is kept, in [0, 1)
---opts.nesterov boolean =false w -= lr (g + momentum u)
---opts.weight_decay number lambda >= 0, on every tensor of a group
---opts.decay string independent: w -= s lambda w | decoupled: w -= s lr lambda w | coupled: g +=
---lambda w
---@return optimizer with step, zero_grad, state, load_state, options
---source: Sutskever et al. 2013
ml.optim.sgd = function(...) end

---@class ml.optimizer
local optimizer_methods = {}

---opt:load_state(t, metadata)
---Takes over a state; all of it is checked before anything changes.
---@param t table as opt:state() or ml.load returns it
---@param metadata any not read: what ml.load returns second
---source: -
function optimizer_methods:load_state(...) end

---opt:options()
---What the rule works with.
---@return table rule, lr, and the other options in force; parameters: name -> { lr_scale,
---eps_scale, decay_scale }
---source: -
function optimizer_methods:options(...) end

---opt:state()
---Everything that a step reads besides parameters and gradients.
---@return table name -> tensor: <parameter>.m, .v, .momentum like the parameter, of a factored one
---.row [rows] and .column [columns], leading axes as one (live, not copies); and <parameter>.step,
---0-d; fit for ml.save
---source: -
function optimizer_methods:state(...) end

---opt:step(s, grads)
---One update of every parameter that has a gradient.
---@param s number =1 schedule multiplier of every group's lr and of independent decay
---@param grads table gradients shaped like params, by position or name; default the parameters' own
---source: the rule's
function optimizer_methods:step(...) end

---opt:zero_grad()
---Fills the gradients of all parameters with zeros.
---source: PyTorch's name
function optimizer_methods:zero_grad(...) end

---param(t)
---A parameter: it shares t's storage and collects a gradient. No scope releases it.
---@param t tensor f32 or f64 of any shape; what it depends on is left behind
---@return tensor like t: the parameter
---source: -
ml.param = function(...) end

---ml.parameterization(model, { name =, align =, optimizer =, base_width =, gamma =, types =,
---  overrides =, epsilon =, width = })
---Sets how initial scale, multiplier, learning rate and epsilon of each tensor depend on the width
---n, before training: with r = n / base_width a tensor of a type gets the multiplier r^-a, the
---initial std of the base width times r^-b, the learning rate gamma r^-c and epsilon r^-g. Nothing
---changes at the base width, to the last bit. Redraws from the model's seed and sets multipliers,
---which save keeps; learning rates and epsilons go to the optimizer: ml.optim.adamw(par:groups(),
---{ lr = 1e-2 }). Types: embedding (tokens, positions, gains, biases), hidden (the matrices of the
---blocks), readout (head). Raises on a model that has been trained.
---@param model ml.transformer or a network of ml.nn, whose hidden and readout matrices fall as
---1/sqrt(fan_in) by themselves (the default) and whose embeddings do not depend on the width (init
---= 1); its values are scaled in place
---opts.name string|table ="standard" standard|ntk|mup|mean_field, or muparam_simple|
---muparam_intermediate|muparam_full, or { a =, b =, c =, g = } of { embedding =, hidden =, readout
---= } each; c and g are solved for when absent
---opts.align string|table ="full" full|none, or measured { alpha =, omega =, u = }, each a
---number or { hidden =, readout = }: the largest stable learning rates follow
---opts.optimizer string ="adamw" sgd|adam|adamw|adam_atan2|lion|adam_ps|adafactor
---opts.base_width integer divides the width, or is divided by it
---opts.gamma table ={ embedding = 1, hidden = 1, readout = 1 } factors of the learning rate
---opts.types table part of a name -> type, where the automatic type is not wanted; needed
---for a tied head
---opts.overrides table part of a name -> { multiplier =, std =, lr =, eps =, decay = },
---further factors
---opts.epsilon string ="per_layer" per_layer: epsilon follows the gradient|constant
---(muparam's default)
---opts.width integer the width, of a network that is no decoder
---@return parameterization prints as a table; rows, row(name), groups()
---source: Everett et al. 2024, section 3; Yang et al. 2021; Wortsman et al. 2023, section 3.2.4
ml.parameterization = function(...) end

---@class ml.parameterization
local parameterization_methods = {}

---parameterization:groups()
---The parameters as groups for an optimizer: one group for each set of equal scales.
---@return list of { params = { name -> parameter }, lr_scale =, eps_scale =, decay_scale = }
---source: -
function parameterization_methods:groups(...) end

---parameterization:row(name)
---The row of one parameter.
---@param name string
---@return table { name, type, shape, multiplier, std, lr, eps, decay }: lr, eps and decay are
---factors of the optimizer's own; nil where there is no such parameter
---source: -
function parameterization_methods:row(...) end

---peak_rss()
---The largest resident size of the process so far.
---@return integer bytes
---source: -
ml.peak_rss = function(...) end

---permute(x, axes) permute(x, axis, ...)
---Reorders the axes: axis k of the result is axis axes[k] of x. Shares storage.
---@param x tensor of any shape
---@param axes table of integers, each axis once
---@return tensor of x's shape in the new order, differentiable
---source: -
ml.permute = function(...) end
ml.plot = {}

---ml.plot.confusion{ counts =, names =, normalize =, ... }
---A confusion matrix: rows are the true classes, columns the predicted ones. Takes title, xlabel,
---ylabel, file, width, height, theme as ml.plot.lines does.
---opts.counts table rows of numbers, or tensor [classes, classes]
---opts.names table list of class names =1..classes
---opts.normalize boolean =false each row divided by its sum
---@return figure
---source: -
ml.plot.confusion = function(...) end

---ml.plot.grid{ fig1, fig2, ..., columns =, share =, title =, file =, width =, height =, theme = }
---Small multiples: the panels of several figures in one, row by row.
---opts[1..n] figure of ml.plot
---opts.columns integer =about as many as rows
---opts.share string ="" "x", "y" or "xy": one range for all panels with such numbers
---opts.title string =nil above all
---opts.width integer =at most 320 a column
---opts.height integer =240 a row
---@return figure
---source: Tufte 1990, Envisioning Information
ml.plot.grid = function(...) end

---ml.plot.heatmap{ z =, x =, y =, xnames =, ynames =, cmap =, vmin =, vmax =, center =, zlog =,
---  zlabel =, values =, origin =, log =, title =, ... }
---A matrix in colours with a colour bar. Cells that are not finite (or not > 0 with zlog) are
---grey, and the figure says how many. More than 250 cells along an axis are averaged in blocks,
---and the figure says so. Takes title, xlabel, ylabel, base, notes, file, width, height, theme as
---ml.plot.lines does.
---opts.z table rows of numbers, or tensor [rows, columns]; row i belongs to y[i]
---opts.x table list or tensor: centres [columns] or edges [columns+1] of the cells; =1..n
---opts.y table list or tensor: centres [rows] or edges [rows+1]; =1..n
---opts.xnames table list of names instead of x
---opts.ynames table list of names instead of y
---opts.log string ="" "x", "y", "xy": axes
---opts.zlog boolean =false colours of equal ratios
---opts.cmap string ="sequential", "diverging" or "grey"; each linear in the lightness of
---OKLab
---opts.vmin number =least value
---opts.vmax number =greatest value
---opts.center number =nil value in the middle of the diverging colours
---opts.zlabel string =nil of the colour bar
---opts.values boolean =false writes each cell's value where all fit
---opts.origin string ="lower" where row 1 is; "upper" as a matrix is printed
---@return figure
---source: colours: linear in OKLab, Ottosson 2020
ml.plot.heatmap = function(...) end

---ml.plot.histogram{ x =, series =, bins =, density =, log =, ... }
---How often values fall into intervals; values that are not finite are left out, and the figure
---says how many. Takes the options of ml.plot.lines that fit.
---opts.x table list or tensor, any number of axes
---opts.series table list of { x =, label =, colour = } instead of one; all share the bins
---opts.bins integer ="auto" their number, or the list of edges; "auto": Freedman and
---Diaconis' rule
---opts.density boolean =false areas of 1 instead of counts
---opts.log string ="" "x": bins of equal ratios; "y": counts on a logarithmic axis
---@return figure
---source: Freedman & Diaconis 1981, "On the histogram as a density estimator"
ml.plot.histogram = function(...) end

---ml.plot.lines{ x =, y =, yerr =, low =, high =, label =, series =, log =, base =, title =,
---  xlabel =, ylabel =, xlim =, ylim =, legend =, references =, notes =, fit =, optimum =,
---  diverged =, sequential =, zlabel =, envelope =, markers =, colour =, file =, width =,
---  height =, theme = }
---Curves. Points that are not finite leave gaps; so do points that are not > 0 on a logarithmic
---axis, and the figure says how many. More than 8192 points are thinned to the first, least,
---greatest and last of each of 2000 columns, and the figure says so.
---opts.x table list or tensor [n]; =1..n
---opts.y table list or tensor [n]
---opts.yerr table list or tensor [n]: a band from y - yerr to y + yerr
---opts.low table list or tensor [n] =nil with high: a band
---opts.high table list or tensor [n] =nil
---opts.label string =nil written at the right end of the curve where there is room, else in
---a legend
---opts.series table list of { x, y, yerr, low, high, label, colour, dash = bool, markers =
---bool, points = bool (no line), faint = bool, thin = bool, fit, optimum, diverged, value, size }
---instead of one curve
---opts.log string ="" logarithmic axes: "x", "y" or "xy"
---opts.base integer =10 of logarithmic axes: 2, 10 or { x =, y = }
---opts.xlim table { low, high } =nil of the axis; a missing end follows the data
---opts.ylim table { low, high } =nil
---opts.legend string ="auto" "ends" of the curves, "inside", "outside", or false
---opts.references table list of { x = or y =, label, colour }: dashed lines across
---opts.notes table list of { x, y, text }
---opts.xnames table list of names =nil of x = 1, 2, ...: categories
---opts.ynames table list of names =nil of y = 1, 2, ...
---opts.fit boolean =false a power law through the points by ml.fit.power_law, its exponent
---and standard error in the label; or { range = { low, high } } in x
---opts.optimum string =nil marks the "min", "max" or vertex of a "parabola" through five
---points (ml.fit.parabola on the axes of the plot); or { x, y, text }
---opts.diverged boolean =false points whose y is not finite stand at the upper edge; or a
---list of x
---opts.sequential boolean =false colours by order, or by the value of each series with a
---colour bar (logarithmic over more than a factor 20); a series without value whose colour is
---given keeps it, and its label
---opts.zlabel string =nil of that bar
---opts.envelope string =nil the "min" or "max" of all curves, as in IsoFLOP plots
---opts.markers boolean =nil a marker at each point; nil: up to 12 points
---opts.colour string "#rrggbb" =nil
---opts.file string path to save to, ending in .svg or .png
---opts.width integer =640 pixels, 160 to 10000
---opts.height integer =400 pixels, 120 to 10000
---opts.theme string ="light" "dark", or "auto": as the viewer prefers
---@return figure with svg(), text(columns, rows), png(path), save(path); prints itself in braille
---source: colours: Okabe & Ito 2008; ticks: 1-2-5 steps
ml.plot.lines = function(...) end

---ml.plot.phase{ region =, xlim =, ylim =, x =, y =, boundaries =, points =, log =, title =, ... }
---A phase diagram: the plane in regions, each with its name written where it fits, else in a
---legend. Takes xlabel, ylabel, base, notes, references, file, width, height, theme as
---ml.plot.lines does.
---opts.region function(x, y) -> the region's name, or nil for none; then xlim and ylim are
---needed; or rows of names, row i at y[i], then x and y are; at most 24 names
---opts.xlim table { low, high } of the frame
---opts.ylim table { low, high }
---opts.x table list or tensor: centres [columns] or edges [columns+1] of the cells
---opts.y table list or tensor: centres [rows] or edges [rows+1]
---opts.boundaries table list of { x, y, label, colour }: curves drawn on top
---opts.points table { x, y, label }: points drawn on top
---opts.log string ="" "x", "y", "xy"
---@return figure
---source: -
ml.plot.phase = function(...) end

---ml.plot.scatter{ x =, y =, yerr =, label =, series =, fit =, log =, ... }
---Points, with error bars where yerr (or low and high) is given. Takes the options of
---ml.plot.lines. More than 8192 points are thinned to one in each of 240 x 180 cells, and the
---figure says so.
---opts.x table list or tensor [n]; =1..n
---opts.y table list or tensor [n]
---opts.fit boolean =false a power law through the points, its exponent and standard error
---in the label; or { range } of ml.fit.power_law
---opts.size number =3 radius of the markers in pixels, 0.5 to 50
---opts.series table list as ml.plot.lines has it
---@return figure
---source: -
ml.plot.scatter = function(...) end

---ml.plot.spectrum{ values =, series =, slopes =, fit =, log = "xy", ... }
---Eigenvalues, or other sizes, in descending order over their rank. Values that are not > 0 are
---left out of a logarithmic axis, and the figure says how many. Takes the options of
---ml.plot.lines.
---opts.values table list or tensor [n], any order
---opts.series table list of { values =, label =, fit =, ... } instead of one
---opts.slopes table list of exponents =nil: dashed reference lines, value ~ rank^slope,
---through the first series near a third of its ranks
---opts.fit boolean =false a power law, or { range = { 10, 100 } } in ranks
---opts.log string ="xy"
---@return figure
---source: -
ml.plot.spectrum = function(...) end
ml.plrf = {}

---ml.plrf.components{ alpha =, beta =, v =, d =, gamma =, batch =, steps = }
---Asymptotics of the parts of the loss at large d, their sum (right up to constants), and which is
---largest at each step. Fac is 0 unless 2 alpha > 1 and 2 beta > 1; Kpp is the noise part K_pp /
---(gamma B), 0 for alpha <= 1/4.
---opts.alpha number decay of the spectrum, >= 0
---opts.beta number decay of the target, may be negative
---opts.v integer data dimension, >= d
---opts.d integer parameters
---opts.gamma number > 0
---opts.batch integer =1 samples an update, >= 1
---opts.steps table of numbers > 0
---@return table { F0, Fpp, Fac, Kpp, estimate, dominant (lists over steps), c, c_beta, crossover =
---{ from, to, step } list: where the largest part changes, at whatever step from 1 on }
---source: Paquette et al. 2024
ml.plrf.components = function(...) end

---ml.plrf.convert{ rate =, batch =, reduction =, loss = }
---The gamma of ml.plrf (gradient without a factor 2, summed over the batch) that another
---convention means by its rate.
---opts.rate number > 0 the other's learning rate
---opts.batch integer =1 samples an update, >= 1
---opts.reduction string =sum | mean over the batch
---opts.loss string =none the gradient has no factor: "none" | "square": the true gradient
---of the square, factor 2 | "half": of half the square, no factor, its loss half of ours
---@return number gamma
---@return number what the other's loss is to be multiplied by to be ours
---source: Paquette et al. 2024
ml.plrf.convert = function(...) end

---ml.plrf.deterministic{ alpha =, beta =, v =, d =, bins = }
---The deterministic equivalent: the loss curve without a draw of W, at any step up to 1e15.
---opts.alpha number >= 0
---opts.beta number may be negative
---opts.v integer data dimension, >= d, up to 1e12
---opts.d integer parameters
---opts.bins boolean =v > 20000 the modes beyond 300 in 60 cells per e-fold, relative error
---1.4e-5
---@return deterministic with kappa, F0, loss0; methods risk, refined,
---kernel_norm, rate, mass, m, cells
---source: Paquette et al. 2024
ml.plrf.deterministic = function(...) end

---ml.plrf.envelope{ flops =, sizes =, loss =, approach =, window = }
---The compute-optimal front of a family of curves: for each f the best size, then the two log-log
---fits. Values of f whose best size is the first or the last are skipped.
---opts.flops table of numbers
---opts.sizes table of sizes d, ascending
---opts.loss table loss[k][i] of size k at flops i, NaN where there is none
---opts.approach integer =2 IsoFLOP parabolas in log d; 1 the lower envelope on the grid
---opts.window number =0 of the parabola: the sizes within this factor of the best, at least
---its neighbours
---@return table { eta, xi, eta_stderr, xi_stderr, flops, loss, size (of the points used) }
---source: Hoffmann et al. 2022, approaches 1 and 2
ml.plrf.envelope = function(...) end

---ml.plrf.front{ alpha =, beta =, sizes =, flops =, ratio =, v =, norm =, batch =, approach =,
---  window =, draws =, nested =, runs =, seed =, resamples = }
---The compute-optimal front with compute f = r B d: of the deterministic equivalent, or averaged
---over draws of W, of their exact curves or of runs of SGD, with a bootstrap over draws and runs.
---opts.alpha number decay of the spectrum, >= 0
---opts.beta number decay of the target, may be negative
---opts.sizes table of sizes d, ascending
---opts.flops table of numbers
---opts.ratio number =4 (2 below alpha = 1/2): v = ratio d
---opts.v integer the same v for all sizes instead
---opts.norm number =0.25 gamma = 2 norm / sum j^(-2 alpha)
---opts.batch integer =1 samples an update, >= 1
---opts.approach integer =2 see ml.plrf.envelope
---opts.window number =0 see ml.plrf.envelope
---opts.draws integer =0 draws of W for each size
---opts.nested boolean =false the W of all sizes are leading blocks of one matrix, scaled to
---variance 1/d: xi scatters less between draws, eta more
---opts.runs integer =0 runs of SGD for each draw in place of its exact curve
---opts.seed integer =1 of every draw
---opts.resamples integer =200 of the bootstrap
---@return table as ml.plrf.envelope, with curves [k][i], predicted (ml.plrf.phase), and with draws
---or runs the bootstrap's eta_stderr, xi_stderr
---source: Paquette et al. 2024
ml.plrf.front = function(...) end

---ml.plrf.local_slopes(x, y)
----d log y / d log x between neighbours, at the geometric means of x.
---@param x table of numbers > 0
---@param y table of numbers > 0
---@return table x
---@return table slopes
---source: -
ml.plrf.local_slopes = function(...) end

---ml.plrf.phase(alpha, beta)
---Phase of compute-optimal scaling: P* ~ f^-eta, d* ~ f^xi. Points on a line belong to the side of
---larger alpha and smaller beta.
---@param alpha number >= 0
---@param beta number decay of the target, may be negative
---@return table { name = "Ia" ... "IVb" or "none", eta, xi, balance, terms, line (nearest),
---distance }
---source: Paquette et al. 2024, Table 2
ml.plrf.phase = function(...) end

---ml.plrf.phase_map{ alphas =, betas = }
---The phase at each point of a grid.
---opts.alphas table numbers
---opts.betas table numbers
---@return table { name, eta, xi }: each a list over alphas of lists over betas; NaN where none
---source: Paquette et al. 2024
ml.plrf.phase_map = function(...) end

---ml.plrf.problem{ alpha =, beta =, v =, d =, seed = | W = }
---One draw of the model: data x_j = j^-alpha z_j, target sum_j j^-beta x_j, features W^T x; the
---loss E (features.theta - target)^2 without a factor 1/2. Takes d^2 + 2 v d doubles and v d^2 +
---(4/3) d^3 flops. Where the least eigenvalue is below 1e-10 of the largest or the least loss
---below 1e-8 of loss0 they come from factors of the features, for about ten times as many.
---opts.alpha number >= 0
---opts.beta number may be negative
---opts.v integer data dimension, >= d
---opts.d integer parameters
---opts.seed integer =1 of W, independent normals of variance 1/d
---opts.W tensor [v,d] f64 instead of v, d and seed
---@return problem with lambda [d] ascending, rho [d] initial energies, null (the least loss),
---loss0 (at theta = 0), W; methods sgd, expected, kernel_norm, rate, stability, minimiser
---source: Paquette et al. 2024
ml.plrf.problem = function(...) end

---pow(x, y)
---x to the power y, element by element, with broadcasting (trailing axes align; each equal or 1).
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number
---@return tensor of the broadcast shape, differentiable
---source: -
ml.pow = function(...) end

---prod(x, axes, opts)
---The product over the given axes, or over all elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---@return tensor of x's shape without the reduced axes, 0-d over all, differentiable
---source: -
ml.prod = function(...) end

---@class ml.programs
local programs_methods = {}

---programs:batch(pairs)
---Problems and solutions as a batch in which the solutions' tokens count alone.
---@param pairs list of { prompt = ids, solution = ids, weight = number or nil, 1 }
---@return table inputs and targets index [rows,T], mask f32 [rows,T]
---source: -
function programs_methods:batch(...) end

---programs:corpus(i, { batch, seed })
---Batch number i of the text that a base model learns from: problems that do what none of any
---split does, 30 % of them in other words, and programs, a quarter of them of another problem.
---@param i integer >= 1
---opts.batch integer =64 rows
---opts.seed integer =1 of the text
---@return table inputs and targets index [rows,T], mask f32 [rows,T]: what lm:loss takes
---source: -
function programs_methods:corpus(...) end

---programs:decode(ids)
---The text of token ids, the digits of a number together.
---@param ids list of integers, or tensor index [n]
---@return string
---source: -
function programs_methods:decode(...) end

---programs:encode(text)
---Words, separated by spaces, as token ids; a number is as many words as it has digits. Raises on
---a word that is not in the vocabulary.
---@param text string
---@return table list of ids
---source: -
function programs_methods:encode(...) end

---programs:prompt(problem)
---The token ids of a problem: what a function should do, and two examples.
---@param problem table of task.train and its like
---@return table list of ids
---source: -
function programs_methods:prompt(...) end

---programs:self_test()
---The walls of the sandbox and the graders against what they must say: right programs in every way
---of writing are right; empty, cut off, echoed, hostile ones and single examples are not,
---and a grader that fails says neither. Raises where it is not so.
---@return integer checks that were made
---@return string what the sandbox holds back, in a line
---source: -
function programs_methods:self_test(...) end

---programs:solution(problem, { variant })
---The token ids of a right program.
---@param problem table
---opts.variant integer =1 of the ways in which it is written, around and around
---@return table list of ids, the last one ends it
---source: -
function programs_methods:solution(...) end

---programs:verify(problem, ids, { grader })
---Whether a program is right: in the sandbox it gives what is wanted for both examples and eight
---hidden tests, of the right type (2 is not 2.0). It must end, and nothing may follow. The lenient
---grader takes what stands before the first end or all there is, a value without its `return`, and
---2.0 for 2.
---@param problem table
---@param ids list of integers, or tensor index [n], with the end
---opts.grader string ="strict" or "lenient"
---@return boolean or nil where the grader itself failed, which is neither
---@return table info: passed (of 10 tests), honest (it passes 64 further tests), answer (a digest
---of what it returned, nil where it did not run), reason (nil, "form", "tests" or one of
---ml.sandbox.run), or message of a failure
---source: -
function programs_methods:verify(...) end

---ml.progress(n, label)
---Counts from 1 to n and shows how far it is, on standard error.
---@param n integer how many, >= 0
---@param label string what is being done
---@return function an iterator: for i in ml.progress(n, "training") do ... end
---source: -
ml.progress = function(...) end
ml.progress = {}

---ml.progress.bar(total, label, { every, quiet, skipped })
---A bar for `total` units: bar:update(done, "loss 2.31") or bar:step(), then bar:finish(). Bars
---made while others live stand indented below them. On a terminal the lines are redrawn at most
---ten times a second; elsewhere one line appears every `every` seconds and at the end.
---@param total integer units; nil when it is not known: no share and no time left
---@param label string what is being done
---opts.every number =20 seconds between plain lines
---opts.quiet boolean =false shows nothing
---opts.skipped integer =0 units that were done before, which the rate leaves out
---@return bar to be closed, too: local bar <close> = ml.progress.bar(...)
---source: -
ml.progress.bar = function(...) end

---ml.progress.duration(seconds)
---A duration in words: "42s", "3m05s", "2h10m".
---@param seconds number >= 0
---@return string
---source: -
ml.progress.duration = function(...) end

---ml.progress.quantity(x)
---A number in few characters: "870", "12k", "4.56M".
---@param x number >= 0
---@return string
---source: -
ml.progress.quantity = function(...) end
ml.proxies = {}

---ml.proxies.diff(a, b)
---What two configurations differ in.
---@param a table
---@param b table
---@return list of { name = "optimizer.eps", left =, right = }, in the order of the names; prints
---itself
---source: -
ml.proxies.diff = function(...) end

---ml.proxies.gradient_rms(size, lr, rms, { eps })
---Fits log rms = a + b log N + c log lr and says where it meets the optimizer's epsilon: a second
---instability that small runs foretell.
---@param size list or tensor [n] of parameter counts
---@param lr list or tensor [n]
---@param rms list or tensor [n], > 0: root mean square of the gradient of one matrix
---opts.eps number =1e-8 of the optimizer, in the unit of a gradient, >= 0
---@return table { size_exponent, size_stderr, lr_exponent, lr_stderr, predict(N, lr), meets(lr) =
---the N at which the fit falls to eps, nil when it does not fall with N }
---source: Wortsman et al. 2023, section 3.4
ml.proxies.gradient_rms = function(...) end

---ml.proxies.lr_sensitivity(lr, loss, { initial, windows })
---Mean over the grid of min(loss, initial) - best: how much is lost by a wrong learning rate. A
---run that ended in NaN or infinity counts as the initial loss. With several windows, each of
---which has its own best, the result is the smallest: the rule for an intervention that moves the
---optimum.
---@param lr list or tensor [n], ascending, > 0
---@param loss list or tensor [n]: final validation losses; nan and infinities are diverged runs
---opts.initial number the loss before training
---opts.windows list ={ the whole grid } of { low, high }, ends included
---@return number sensitivity
---@return table { best_lr, best_loss, window, diverged = how many runs of the window, worst_ratio
---= largest min(loss, initial) over best }; when every run diverged the sensitivity is 0 and
---best_lr is nil
---source: Wortsman et al. 2023, equation 1
ml.proxies.lr_sensitivity = function(...) end

---ml.proxies.optimal_lr(lr, loss)
---The best learning rate: vertex of the parabola through the three points around the least loss in
---log lr. Diverged runs (nan, infinities) are left out.
---@param lr list or tensor [n], ascending
---@param loss list or tensor [n]
---@return number learning rate, or nil with "not bracketed" when the least loss is at an end
---@return number loss there
---source: -
ml.proxies.optimal_lr = function(...) end

---ml.proxies.predict_logit(size, logit, { holdout })
---Foretells the largest attention logit of a model from smaller ones: log10 logit = a + b log10 N
---+ c (log10 N)^2.
---@param size list or tensor [n] of parameter counts, ascending
---@param logit list or tensor [n], > 0: largest attention logits at the same step and learning
---rate
---opts.holdout integer =1 how many of the largest are kept out
---@return number foretold logit of the largest size
---@return table of ml.fit.quadratic_loglog: factor, predict(N), crossings(1e4) and more
---source: Wortsman et al. 2023, section 3.3
ml.proxies.predict_logit = function(...) end

---ml.proxies.preset(name)
---A named configuration: paper, the baseline of Wortsman et al. 2023 (depth, width and heads are
---the ladder's), or nanodo-default, that of the public NanoDO code, whose kernels are
---Xavier-uniform there and truncated normal here.
---@param name string paper|nanodo-default
---@return table { model =, optimizer =, training = }: options of ml.transformer, of ml.optim and
---of the training loop
---source: Wortsman et al. 2023, section 2; NanoDO (google-deepmind/nanodo)
ml.proxies.preset = function(...) end

---ml.proxies.right_branch(lr, losses, { initial })
---The excess min(loss, initial) - best of every curve at learning rates above its optimum, where
---best is the least loss of all curves: what short runs at small learning rates cannot hide.
---@param lr list or tensor [n], ascending
---@param losses table name -> list of losses [n]
---opts.initial number the loss before training
---@return table name -> { lr = list, excess = list, mean = number, nan when the optimum is at the
---right end }
---@return number the best loss of all
---source: after Wortsman et al. 2023, section 2
ml.proxies.right_branch = function(...) end

---ml.proxies.source{ vocab =, length =, train =, valid =, batch =, seed = }
---Synthetic sequences that bigrams learn halfway: 8 uniform ids, then with probability 0.4 the id
---8 places back, else one that depends on the id before. With the default sizes the best losses
---in nats, averaged over 32 targets: uniform 4.16, bigram 3.40, the source itself 2.38.
---opts.vocab integer =64 at least 2
---opts.length integer =32 targets in a row, at least 8
---opts.train integer =2048 rows to learn from
---opts.valid integer =128 rows held out
---opts.batch integer =8 rows of a batch
---opts.seed integer =1 of every draw
---@return source with train, valid (index [rows, length + 1]), vocab, length, batch(i)
---source: -
ml.proxies.source = function(...) end

---ml.proxies.train(p, { dir, log, source })
---Trains one proxy and measures it. The parameters are those of the recipe proxy; absent ones have
---its defaults.
---@param p table
---opts.dir string folder for checkpoints, of runs longer than 2000 steps
---opts.log function called with each record of training
---opts.source table data with vocab, length, valid and batch(i), in place of p.text
---@return table { state, initial, final = validation losses (final nan when diverged), N and
---N_all = parameters without and with embedding and head, steps, series = { step, loss, max_logit,
---q_rms, k_rms and qk_cosine (block 1, training batch), grad_rms, update_rms, below_eps, param_rms
---(blocks.1.mlp.w1, the gradient before clipping), logit_mean, mean_logz }, max_logit,
---max_abs_logit, entropy, block_rms, q_rms, k_rms, qk_cosine (lists by block, validation batch at
---the end; see lm:loss), grad_rms (mean of the last twentieth), tensors = name -> { mean,
---param_rms, grad_rms, update_rms, below_eps } after the last step }
---source: Wortsman et al. 2023, section 2
ml.proxies.train = function(...) end
ml.recipe = {}

---recipe.define{ name =, params =, run = function(p, ctx), claims =, smoke =, full =, estimate = }
---Checks and returns a recipe; a recipe's file ends with `return recipe.define { ... }`.
---The frame calls run(p, ctx) once per seed; p holds the parameters, p.seed among them. It returns
---a table of results: numbers, texts, tensors, tables of them; state = "diverged" is a result too.
---ctx.dir is the run's folder, ctx.seed and ctx.size tell what runs, ctx:log{...} keeps one line,
---ctx:figure(name, fig) saves and shows a figure, ctx:once(key, fn) computes something once in the
---life of the run.
---@param definition.name string
---@param definition.params table { name = { default, "meaning", unit =, min =, max =, above =,
---below =, choices = {...}, integer = bool, of = example of an empty list's values } }
---@param definition.run function (p, ctx) -> results
---@param definition.smoke table values of parameters: seconds, one seed
---@param definition.full table values of parameters: hours; seeds = {...}, {1, 2, 3} unless given
---@param definition.estimate function (p) -> { bytes =, seconds = } of one seed
---@param definition.claims table list of { name =, kind = "exact" | "theory" | "paper" |
---"calibrated" | "exploratory", source =, tolerance =, measure = function(r, p) -> value, stderr }
---with one of expected, at_most, at_least: a number or function(p, r); seeds = how many a
---calibrated claim needs; when = function(p): whether the claim speaks about a run with these
---parameters, else it is left out
---@param definition.minimize string the result that a sweep compares points by; or maximize
---@param definition.source string where the question comes from
---@return recipe
---source: -
ml.recipe.define = function(...) end

---recipe.find(name)
---The path of a recipe's file.
---@param name string a name, or the path of a .lua file
---@return string or nil
---source: -
ml.recipe.find = function(...) end

---recipe.load(name)
---Loads a recipe.
---@param name string a name, or the path of a .lua file
---@return recipe or nil and why it cannot be loaded
---source: -
ml.recipe.load = function(...) end

---recipe.names()
---Names of the recipes that come with moonlab, of those in ./recipes and in the current folder.
---@return table list of strings, sorted
---source: -
ml.recipe.names = function(...) end

---reciprocal(x)
---1 / x, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.reciprocal = function(...) end

---reload(name)
---Loads a module anew. Who holds its table sees the new functions: it is filled again. When the
---file does not load, the module stays as it was.
---@param name string as for require
---@return the module
---source: -
function reload(...) end

---relu(x)
---max(x, 0), element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.relu = function(...) end

---relu2(x)
---max(x, 0)^2, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.relu2 = function(...) end

---reshape(x, sizes) reshape(x, size, ...)
---The same values in row-major order under other sizes; shares storage when the layout allows it.
---@param x tensor of any shape
---@param sizes table of integers, or integers; one may be -1
---@return tensor of the shape asked for, differentiable
---source: -
ml.reshape = function(...) end

---rng(seed)
---A stream of random numbers: the same seed gives the same numbers on every machine and any number
---of threads.
---@param seed integer of 64 bits
---@return rng with the methods normal, uniform, integers, permutation, truncated_normal, state,
---load_state, fold, clone
---source: Philox4x32-10, Salmon et al. 2011; in NumPy: tests/golden/philox.py
ml.rng = function(...) end

---@class ml.rng
local rng_methods = {}

---g:clone()
---A copy that draws the same numbers from here on.
---@return rng
---source: -
function rng_methods:clone(...) end

---g:fold(name, i)
---An independent stream that depends on g's seed, the name and i, never on what was drawn.
---@param name string =""
---@param i integer =0 number of the stream under that name
---@return rng
---source: -
function rng_methods:fold(...) end

---g:integers(lo, hi, shape, opts)
---Draws whole numbers lo..hi, both ends included, without bias; advances g.
---@param lo integer least, itself included
---@param hi integer largest, itself included
---@param shape integer or table of sizes; options may stand in the table; absent: one Lua number
---opts.dtype string ="index" when lo >= 1, else "f64"; also f32, u8
---@return tensor of that shape
---source: Philox4x32-10 (Salmon et al. 2011)
function rng_methods:integers(...) end

---g:load_state(state)
---Puts the stream where state() found it.
---@param state table { key =, counter = }
---@return rng g
---source: -
function rng_methods:load_state(...) end

---g:normal(shape, opts)
---Draws from the normal distribution and advances g.
---@param shape integer or table of sizes; options may stand in the table; absent: one Lua number
---opts.mean number =0 of the distribution
---opts.std number =1 standard deviation, >= 0
---opts.dtype string ="f64" f64 or f32
---@return tensor of that shape
---source: Box & Muller 1958 on Philox4x32-10 (Salmon et al. 2011)
function rng_methods:normal(...) end

---g:permutation(n)
---A random order of 1..n; advances g.
---@param n integer how many, >= 0
---@return tensor index [n]
---source: Fisher & Yates 1938
function rng_methods:permutation(...) end

---g:state()
---Where the stream stands, for load_state; survives JSON.
---@return table { key = integer, counter = integer }
---source: -
function rng_methods:state(...) end

---g:truncated_normal(shape, opts)
---Draws from the normal distribution cut at two standard deviations, scaled so that the result has
---the standard deviation asked for; advances g.
---@param shape integer or table of sizes; options may stand in the table; absent: one Lua number
---opts.std number =1 standard deviation, >= 0
---opts.dtype string ="f64" f64 or f32
---@return tensor of that shape
---source: Philox4x32-10 (Salmon et al. 2011)
function rng_methods:truncated_normal(...) end

---g:uniform(shape, opts)
---Draws uniformly from [lo, hi) and advances g.
---@param shape integer or table of sizes; options may stand in the table; absent: one Lua number
---opts.lo number =0 lower end
---opts.hi number =1 upper end, itself left out
---opts.dtype string ="f64" f64 (53 bits) or f32 (24 bits)
---@return tensor of that shape
---source: Philox4x32-10 (Salmon et al. 2011)
function rng_methods:uniform(...) end

---round(x)
---The nearest whole number, ties to even, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.round = function(...) end

---rsqrt(x)
---1 / sqrt(x), element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.rsqrt = function(...) end

---@class ml.run
local run_methods = {}

---run:artifact(name)
---The path of a file the run leaves behind (figures, tables), in its folder artifacts.
---@param name string
---@return string
---source: -
function run_methods:artifact(...) end

---run:checkpoint(name)
---The path of a checkpoint, in the run's folder checkpoints.
---@param name string
---@return string
---source: -
function run_methods:checkpoint(...) end

---run:close()
---Gives the run back unfinished: another process may resume it. Closing again does nothing.
---source: -
function run_methods:close(...) end

---run:config()
---What the run is: id, recipe, size, params, seed, seeds, config, started, version, revision,
---dirty, code (a hash of the recipe), host, threads, cpu, cpu_features, simd, blas,
---matmul_precision.
---@return table
---source: -
function run_methods:config(...) end

---run:cut(step, where)
---Takes back the metrics after a step, as a resumed run does before it repeats them: records whose
---step is larger go, records without a step stay. run:cut(-1) drops all that have a step.
---@param step number first that goes
---@param where table =nil only records with these values, e.g. { seed = 2 }
---@return integer records that went
---source: -
function run_methods:cut(...) end

---run:finish(state, message)
---Ends the run and gives it back.
---@param state string "done", "diverged", "interrupted" or "failed"
---@param message string =nil why
---source: -
function run_methods:finish(...) end

---run:log(record)
---Appends one record to the metrics: names with numbers, strings or booleans; NaN and infinity are
---kept. It has reached the system on return, so that killing the process loses nothing.
---@param record table { step = 10, loss = 2.3 }
---source: -
function run_methods:log(...) end

---run:metrics(names, where)
---The metrics as columns: one row for each step (records without a step have rows of their own),
---NaN where a record lacks a value.
---@param names table =nil list of columns; absent: all that hold numbers. Rows with none of them
---go.
---@param where table =nil only records with these values, e.g. { kind = "eval" }
---@return table, integer name -> tensor [rows] f64, "step" among them where steps were logged;
---rows
---source: -
function run_methods:metrics(...) end

---run:note(text)
---Writes a note about the run, or reads it.
---@param text string =nil absent: only reads; "" takes the note away
---@return string the note, or nil
---source: -
function run_methods:note(...) end

---run:params()
---The run's parameters.
---@return table name -> value
---source: -
function run_methods:params(...) end

---run:records(where)
---The metrics as they were logged. A torn last line is left out.
---@param where table =nil only records with these values, e.g. { kind = "eval" }
---@return table, integer list of records; and the number of lines that are damaged
---source: -
function run_methods:records(...) end

---run:results(t)
---Keeps what the run found (tables of numbers, strings, booleans), or reads it back.
---@param t table =nil { results =, claims =, ... }; absent: only reads
---@return table what is kept, or nil
---source: -
function run_methods:results(...) end

---run:state()
---How the run stands. A run whose process was killed is "interrupted".
---@return string, string, table "running", "done", "diverged", "interrupted" or "failed"; a
---message or nil; and the whole of it: { state, message, started, ended, seconds, sessions }
---source: -
function run_methods:state(...) end

---run:tag(tag)
---Adds a tag. Any process may, while the run is being written as well.
---@param tag string a word
---source: -
function run_methods:tag(...) end

---run:tags()
---The words that the run was tagged with.
---@return table list of tags, sorted
---source: -
function run_methods:tags(...) end

---run:untag(tag)
---Takes a tag away.
---@param tag string
---@return boolean whether it was there
---source: -
function run_methods:untag(...) end

---run:write(text)
---Appends text to the run's log.
---@param text string
---source: -
function run_methods:write(...) end
ml.runs = {}

---ml.runs.align(list, name, where)
---One metric of several runs on common steps.
---@param list table runs of ml.runs.open
---@param name string the metric
---@param where table =nil only records with these values
---@return tensor, tensor the steps [n] f64, rising; the values [runs, n], NaN where a run has none
---source: -
ml.runs.align = function(...) end

---ml.runs.claim{ id = or dir =, recipe =, params =, ..., retry = false }
---Opens the run of this id for writing if it is new or unfinished and nobody else writes it; of
---several processes that try, one gets it. Takes what create takes; the parameters of a run that
---is there must agree.
---@param retry boolean =false a failed run counts as unfinished
---@return run open for writing, run.fresh is true for a new one; or nil, a word and a message:
---"busy" (another process writes it), "done", "diverged", "failed"
---source: -
ml.runs.claim = function(...) end

---ml.runs.create{ recipe =, params =, seed =, id = or dir =, ... }
---Makes a new run and opens it for writing. Without id and dir the id is the recipe's name with
---date and time.
---@param recipe string what runs
---@param params table name -> value: number, string, boolean or nested tables of these
---@param seed integer of 64 bits
---@param seeds table list of integers, where one run has several
---@param size string "smoke", "default", "full"
---@param id string name of the folder in the store: letters, digits, '.', '-', '_'
---@param dir string a folder anywhere, instead of id
---@param store string =ml.runs.store()
---@param tags table list of words
---@param config table whatever else tells this run from others
---@param code string a hash of the code that computes it; noted, and no part of what the run is
---@return run open for writing: run.id, run.dir
---Raises when the folder holds a run already.
---source: -
ml.runs.create = function(...) end

---ml.runs.delete(run, { store = })
---Deletes a run with all its files.
---@param run string folder, id, or the beginning of an id
---opts.store string =ml.runs.store()
---@return string the id
---Raises when the run is being written.
---source: -
ml.runs.delete = function(...) end

---ml.runs.difference(list)
---The parameters in which runs differ; recipe, size and seeds count as well.
---@param list table two or more runs of ml.runs.open
---@return table list of { name =, values = { one for each run, nil where it has none } }, by name
---source: -
ml.runs.difference = function(...) end

---ml.runs.find(run, { store = })
---The folder of a run: a path, an id, or the beginning of an id that only one run has.
---@param run string
---opts.store string =ml.runs.store()
---@return string, string the folder and the id; or nil and a message that names what is near
---source: -
ml.runs.find = function(...) end

---ml.runs.ids(store)
---Ids of the runs in a store, sorted.
---@param store string =ml.runs.store()
---@return table list of strings
---source: -
ml.runs.ids = function(...) end

---ml.runs.list{ recipe =, state =, tag =, size =, seed =, params =, store = }
---The runs of a store, oldest first; from the index, which follows the folders.
---opts.recipe string only runs of this recipe
---opts.state string only "running", "done", "diverged", "interrupted" or "failed"
---opts.tag string only runs with this tag
---opts.size string
---opts.seed integer only runs of this seed
---opts.params table only runs with these values: { lr = 1e-3 }
---opts.store string =ml.runs.store()
---@return table list of { id, dir, recipe, size, state, message, seed, params, tags, note,
---started, ended, seconds, host, revision }
---source: -
ml.runs.list = function(...) end

---ml.runs.open(run, { store = })
---Opens a run for reading.
---@param run string folder, id, or the beginning of an id
---opts.store string =ml.runs.store()
---@return run
---source: -
ml.runs.open = function(...) end

---ml.runs.reindex({ store = })
---Makes the index runs.db anew from the folders.
---opts.store string =ml.runs.store()
---@return integer runs found
---source: -
ml.runs.reindex = function(...) end

---ml.runs.resume(run, { store = })
---Opens an unfinished run (interrupted, failed, or its process has died) for writing.
---@param run string folder, id, or the beginning of an id
---opts.store string =ml.runs.store()
---@return run open for writing; cut its metrics with run:cut(step)
---Raises when it is finished, or "is being written by pid N on HOST".
---source: -
ml.runs.resume = function(...) end

---ml.runs.store()
---The folder where runs are kept: MOONLAB_RUNS, or ./runs.
---@return string path
---source: -
ml.runs.store = function(...) end

---ml.runs.valid_id(id)
---Whether a text can be the id of a run: letters, digits, dot, dash and underscore, at most 120 of
---them, the first a letter or digit.
---@param id string
---@return boolean
---source: -
ml.runs.valid_id = function(...) end
ml.sandbox = {}

---ml.sandbox.open{ memory =, instructions =, seconds =, output =, results =, workers =,
---  seccomp = }
---A sandbox with limits and workers of its own. Where the kernel filters no system calls it says
---so on the error stream.
---opts.memory integer =16777216 bytes of the program's Lua state
---opts.instructions integer =10000000 of Lua, counted by hundreds
---opts.seconds number =2 of the clock on the wall, all calls together
---opts.output integer =65536 bytes that it may print
---opts.results integer =1048576 bytes that it may return
---opts.workers integer =1 processes, 1 to 64
---opts.seccomp string ="wanted", "required" (raises where there is none) or "off"
---@return box with the methods run, call, batch, check, status, close
---source: -
ml.sandbox.open = function(...) end

---ml.sandbox.run(source, limits)
---Runs a program in a process without files, network or a way back, in a fresh Lua state with what
---computes and nothing else: assert, error, ipairs, next, pairs, pcall, print, rawequal, rawget,
---rawlen, rawset, select, tonumber, tostring, type, math, string, table, utf8. No metatables, no
---coroutines, no code from text; math.random gives the same numbers each time.
---@param source string Lua 5.4 as text, at most a MiB
---@param limits.memory integer =16777216 bytes of its Lua state
---@param limits.instructions integer =10000000 of Lua, counted by hundreds
---@param limits.seconds number =2 of the clock on the wall
---@param limits.output integer =65536 bytes that it may print
---@param limits.results integer =1048576 bytes that it may return
---@return table { ok (it returned), reason (nil, or "syntax", "error", "instructions", "memory",
---"time", "output", "results", or "died": its process ended twice, which says nothing about the
---program), message, output (what it printed), values (what it returned, n of them), instructions,
---memory (its peak) }
---source: -
ml.sandbox.run = function(...) end

---save(path, tensors, opts)
---Writes tensors to a file that appears whole or not at all; the ending of path chooses the format.
---Index tensors are stored 0-based, as int64.
---@param path string ending in .safetensors, .npz or .npy
---@param tensors table name -> tensor, any shapes; for .npy one tensor
---opts.metadata table string -> string, safetensors only
---Raises when the folder cannot be written or the disk is full.
---source: huggingface/safetensors, Format; numpy.lib.format
ml.save = function(...) end

---scatter(x, ids, values, axis)
---A copy of x with values written at ids along axis; later writes win.
---@param x tensor of any shape
---@param ids tensor index of x's rank, its shape apart from axis, or nested table
---@param values tensor like ids, or number
---@param axis integer =1 from 1, negative from the end
---@return tensor like x, differentiable
---source: PyTorch's scatter
ml.scatter = function(...) end

---scatter_add(x, ids, values, axis)
---A copy of x with values added at ids along axis, in index order.
---@param x tensor of any shape
---@param ids tensor index of x's rank, its shape apart from axis, or nested table
---@param values tensor like ids, or number
---@param axis integer =1 from 1, negative from the end
---@return tensor like x, differentiable
---source: PyTorch's scatter_add
ml.scatter_add = function(...) end
ml.schedule = {}

---ml.schedule.inverse_sqrt(t, { warmup })
---Linear from 0 to 1 over warmup steps, then sqrt(warmup / t).
---@param t number step, from 1
---opts.warmup number =1 steps, >= 1
---@return number multiplier in (0, 1]
---source: Vaswani et al. 2017
ml.schedule.inverse_sqrt = function(...) end

---ml.schedule.warmup_constant(t, { warmup })
---Linear from 0 to 1 over warmup steps, then 1.
---@param t number step, from 1
---opts.warmup number =0 steps
---@return number multiplier in [0, 1]
---source: Goyal et al. 2017
ml.schedule.warmup_constant = function(...) end

---ml.schedule.warmup_cosine(t, { warmup, total, floor | floor_lr, peak_lr })
---Linear from 0 to 1 over warmup steps, then half a cosine down to the floor at step total, and
---constant after it.
---@param t number step, from 1
---opts.warmup number =0 steps; step warmup has multiplier 1
---opts.total number steps in all, >= warmup
---opts.floor number =0 least multiplier; or floor_lr with peak_lr: an absolute rate
---@return number multiplier in [0, 1]
---source: Loshchilov & Hutter 2017; absolute floor: Wortsman et al. 2023
ml.schedule.warmup_cosine = function(...) end

---ml.schedule.warmup_linear(t, { warmup, total, floor | floor_lr, peak_lr })
---Linear from 0 to 1 over warmup steps, then linear down to the floor at step total.
---@param t number step, from 1
---opts.warmup number =0 steps
---opts.total number steps in all, >= warmup
---opts.floor number =0 least multiplier; or floor_lr with peak_lr
---@return number multiplier in [0, 1]
---source: Devlin et al. 2019
ml.schedule.warmup_linear = function(...) end

---scope(f, ...)
---Calls f(...) and returns its results; every tensor made meanwhile is released at once, so that
---its memory serves the
---next step while it is still warm. What the results reach through tables survives and passes to
---the outer scope, so do
---tensors given to ml.keep, parameters and gradients. An error releases everything and goes on;
---yielding out raises.
---@param f function
---@param ... any arguments of f
---@return ... any the results of f
---source: -
ml.scope = function(...) end
ml.selftrain = {}

---ml.selftrain.compare(a, b, { what, resamples, level, seed })
---Two models on the same problems: the difference a - b with its interval by the paired bootstrap.
---@param a table of ml.selftrain.evaluate
---@param b table of the same problems
---opts.what string ="solve" (pass@1 of samples), "right" (greedy) or "votes" (majority)
---opts.resamples integer =10000 draws
---opts.level number =0.95 of the interval
---opts.seed integer =1 of the draws
---@return table { difference, low, high, p }
---source: Efron & Tibshirani 1993; Berg-Kirkpatrick, Burkett & Klein 2012
ml.selftrain.compare = function(...) end

---ml.selftrain.evaluate(lm, task, problems, { samples, temperature, top_p, k, rng })
---The share of problems that one greedy solution gets right; with samples pass@k and the majority
---vote as well. A failure of the verifier is counted, and counts neither way.
---@param lm decoder
---@param task task of ml.task
---@param problems list
---opts.samples integer =0 of each problem; 0: greedy only
---opts.temperature number =1 of samples
---opts.top_p number =nil in (0, 1], of samples
---opts.k table ={ 1, samples } of pass@k
---opts.rng ml.rng of samples
---@return table { greedy, stderr, right (list of booleans, greedy), parsed (share of greedy
---solutions with an answer), right_of_parsed, pass (by k), pass_stderr (by k), chance (by k:
---task:chance), majority, votes (list of 1 and 0), solve (list over problems of the share that is
---right), histogram (counts of solve in ten equal bins), false_positives (share of right samples
---whose working is not), sampled_parsed, failed }
---source: Chen et al. 2021 (pass@k); Wang et al. 2023 (majority)
ml.selftrain.evaluate = function(...) end

---ml.selftrain.improve(lm, task, pairs, { lr, batch, epochs, patience, seed })
---Trains on solutions, whose tokens alone count, until the greedy share of right validation
---problems has not risen for `patience` epochs, and puts the best weights back.
---@param lm decoder, changed
---@param task task of ml.task
---@param pairs list of { prompt = ids, solution = ids }
---opts.lr number =5e-4 learning rate of AdamW, >= 0
---opts.batch integer =64 solutions
---opts.epochs integer =8 at most
---opts.patience integer =2 epochs
---opts.seed integer =1 of the order
---@return table { epochs, valid (list, the first before training), best }
---source: Singh et al. 2023 (arXiv 2312.06585), Section 3
ml.selftrain.improve = function(...) end

---ml.selftrain.pretrain(task, { depth, width, heads, steps, batch, lr, seed, dir })
---A base model: a decoder trained on the task's corpus, with AdamW, a warm-up of a twentieth of
---the steps and a cosine to a tenth of the rate.
---@param task task of ml.task
---opts.depth integer =3 blocks
---opts.width integer =64 of the residual stream
---opts.heads integer =4 divides width
---opts.steps integer =2000 updates
---opts.batch integer =64 rows
---opts.lr number =3e-3 peak learning rate
---opts.seed integer =1 of initial values and text
---opts.dir string =nil folder of a checkpoint, from which a second call goes on
---@return decoder
---source: -
ml.selftrain.pretrain = function(...) end

---ml.selftrain.rest_em{ model =, task =, mode =, iterations =, samples =, temperature =, top_k =,
---  cap =, restart =, dedupe =, filter =, threshold =, weights =, rationalize =, first =, lr =,
---  epochs =, patience =, seed =, dir =, after = }
---Expectation and maximization: in each iteration the last model solves the training problems,
---what the verifier finds right is kept, and a copy of the base model learns it. Other modes
---change defaults: "rft" (rejection-sampling fine-tuning) is one iteration, "continual" goes on
---from the last model, "star" takes one greedy solution and asks again with the answer as a hint,
---and "iml" (iterative maximum likelihood) samples every batch of 64 problems from the model as it
---is and makes one update of what is right, iteration after iteration without a restart.
---opts.model decoder the base, left as it is
---opts.task task of ml.task
---opts.problems table =task.train
---opts.mode string ="rest_em", "rft", "star", "iml" or "continual"
---opts.iterations integer =3 >= 1
---opts.samples integer =32 of each problem
---opts.temperature number =0.7 of sampling, > 0
---opts.top_k integer =40 the most likely tokens
---opts.cap integer =10 solutions of one problem that are kept
---opts.restart string ="base" or "continue"
---opts.dedupe boolean =false equal solutions count once
---opts.filter string ="binary" (all that are right), "top_1" (of those the best score, then
---the most likely: RAFT), "best_of_n" (the same among all, right or not) or "threshold"
---opts.threshold number =0.5 least score that the filter "threshold" passes
---opts.weights string ="none", or "problem": the kept solutions of a problem weigh together
---as much as those of another
---opts.rationalize boolean =false ask again with a hint what was not solved
---opts.first decoder =model that samples in the first iteration: a larger one distils
---opts.lr number =5e-4 learning rate of AdamW, >= 0
---opts.epochs integer =8 of an improvement, at most
---opts.patience integer =2 epochs without a better validation
---opts.seed integer =1 of samples and orders
---opts.dir string folder of the samples (one JSON line for some problems) and the models,
---from which a second call goes on: it samples nothing twice and repeats no finished iteration
---opts.after function(iteration, model, info) called after each iteration
---@return decoder the last policy
---@return table list over iterations of { samples, tokens, seconds, flops (2 a weight and sampled
---token, 6 a weight and learned token), solve_rate, coverage, kept, kept_share, distinct,
---false_positives (share of what was kept), length, length_of_all (tokens), failed, hinted,
---epochs, valid }
---source: Singh et al. 2023 (arXiv 2312.06585), Algorithm 1; Yuan et al. 2023 (rft), Zelikman et
---al. 2022 (star), Dong et al. 2023 (top_1)
ml.selftrain.rest_em = function(...) end

---ml.selftrain.sample(lm, task, problems, { samples, temperature, top_k, top_p, greedy, hint, rng,
---  file })
---Samples solutions and has them judged. A problem's samples depend on its place and the generator
---only. With a file what is there is read and the rest is added, some problems a line.
---@param lm decoder
---@param task task of ml.task
---@param problems list
---opts.samples integer =32 of each problem
---opts.temperature number =1 > 0
---opts.top_k integer only the k most likely tokens
---opts.top_p number in (0, 1]: the fewest most likely tokens that hold this share
---opts.greedy boolean =false one solution, the most likely token at each place
---opts.hint boolean =false prompts that hold the answer
---opts.rng ml.rng whose key, not its place, makes the samples
---opts.file string path of a log that a second call goes on from
---@return table list over problems of lists of { problem (its place), tokens, right, score (what
---the verifier's info says, else 1 or 0), answer, honest, logprob (nats), failed }
---source: Singh et al. 2023 (arXiv 2312.06585), Section 3
ml.selftrain.sample = function(...) end

---ml.selftrain.text_loss(lm, task, { batches, seed, only })
---The loss on text of the task's corpus that the base model has not seen: how far self-training
---has drifted from it.
---@param lm decoder
---@param task task of ml.task
---opts.batches integer =4 of 64 rows
---opts.seed integer =1 of the base model; the text is that of this seed plus 10,000
---opts.only string =nil one component of the corpus
---@return number nats a token
---source: Singh et al. 2023 (arXiv 2312.06585), Section 5.4
ml.selftrain.text_loss = function(...) end

---sigmoid(x)
---1 / (1 + e^-x), element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.sigmoid = function(...) end

---sign(x)
---The sign: -1, 0 or 1, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.sign = function(...) end

---silu(x)
---x sigmoid(x), element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.silu = function(...) end

---sin(x)
---The sine, x in radians, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.sin = function(...) end

---sinh(x)
---The hyperbolic sine, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.sinh = function(...) end
ml.sketch = {}

---ml.sketch.count_sketch{ dim, seed } or { dim, hashes, signs }
---CountSketch: every coordinate goes with its sign to one place of dim.
---opts.dim integer places
---opts.seed integer =1 of every draw
---opts.hashes tensor [d] or list, the place of each coordinate, 1 to dim
---opts.signs tensor [d] or list of +1 and -1
---@return sketch to be called with points tensor [n,d] or with sparse rows; gives [n,dim]
---source: Charikar, Chen & Farach-Colton 2002
ml.sketch.count_sketch = function(...) end

---ml.sketch.features(kernel, { of, dim, method, degree, fit, inner, tree, directions, seed })
---Features of the NNGP or NTK kernel of an infinitely wide network. The inner products of what
---the map returns approximate the kernel, for train and test data alike by the seed, at a cost
---that grows with the points, not with their pairs. "polysketch" goes through the layers with
---sketched polynomials: of homogeneous duals (relu and its like, exp_normalized) fitted ones with
---coefficients >= 0, of other activations the Hermite coefficients that belong to each point's
---norm. "random" draws a network of width inner at every layer; the only one that needs no
---polynomial. "direct" is one polynomial for a whole relu network of dense layers.
---@param kernel kernel of ml.kernel.serial
---opts.of string ="ntk" or "nngp"
---opts.dim integer =4096 columns at most
---opts.method string ="polysketch", "random" or "direct"
---opts.degree integer =8 of polynomials, 1 to 64
---opts.fit string ="nnls" or "taylor", of homogeneous duals
---opts.inner integer =dim of features between layers; what ends up wider is brought down
---opts.tree integer =inner/4 of the sketches of a single power; the first stays whole
---where it is no longer than inner
---opts.directions string ="gaussian", or "sphere": random weights of one length, which for
---relu are those of its leverage scores
---opts.seed integer =1 of every draw
---@return map to be called with tensor [n,d] or [n,H,W,C]; gives [n,columns] of its dtype. Methods
---blocks and estimate; raises at a layer that does not fit and when memory does not suffice
---source: Zandieh et al. 2021 (arXiv 2106.07880); Han et al. 2022 (arXiv 2209.04121)
ml.sketch.features = function(...) end

---ml.sketch.hadamard(X)
---The fast Walsh-Hadamard transform of every row: X H with Sylvester's matrix H of entries +1 and
----1, not normed; rows are padded with zeros to the next power of two.
---@param X tensor [n,d] f32 or f64, or sparse rows
---@return tensor [n,2^p]
---source: Fino & Algazi 1976
ml.sketch.hadamard = function(...) end

---ml.sketch.osnap{ dim, nonzeros, seed } or { dim, hashes, signs }
---OSNAP: every coordinate goes with signs to several places, one in each block of places, and all
---is divided by the square root of their number.
---opts.dim integer places
---opts.nonzeros integer =4 places of a coordinate
---opts.seed integer =1 of every draw
---opts.hashes tensor [k,d] or lists, the places of each coordinate, 1 to dim
---opts.signs tensor [k,d] or lists of +1 and -1
---@return sketch to be called with points tensor [n,d] or with sparse rows; gives [n,dim]
---source: Nelson & Nguyen 2013
ml.sketch.osnap = function(...) end

---ml.sketch.poly_sketch{ degree, dim, base, seed } or { degree, signs, indices }
---PolySketch: a binary tree of TensorSRHT nodes that sketches the tensor power x^degree, so that
---inner products are those of the polynomial kernel (x . y)^degree. A degree that is no power of
---two takes the next larger tree with constant leaves.
---opts.degree integer highest power, >= 1
---opts.dim integer of every node and of the result
---opts.base sketch that comes first, an osnap say, for long or sparse rows
---opts.seed integer =1 of every draw
---opts.signs list of levels from the leaves up, each a list of legs (two a node) with their
---signs
---opts.indices list of levels, each a list of legs with their dim places
---@return sketch to be called with points tensor [n,d] or a list of degree factors; gives [n,dim];
---its method powers gives all lower powers too
---source: Ahle et al. 2020, Section 4
ml.sketch.poly_sketch = function(...) end

---ml.sketch.quality(Z, K, { ridge, ridges, relative })
---How close Z Z^T is to a kernel matrix, in three ways. The relative Frobenius error; the same
---after both are centred on both sides (a large constant part of K flatters the first); and, what
---a guarantee for ridge regression speaks of, the least and largest eigenvalue of (K + ridge)^-1/2
---(Z Z^T + ridge) (K + ridge)^-1/2, with epsilon how far they are from 1.
---@param Z tensor [n,m] f32 or f64, features
---@param K tensor [n,n] f32 or f64, the kernel they stand for
---opts.ridge number =1e-3 times trace(K)/n with relative, > 0
---opts.ridges list instead of ridge: lists of low, high, epsilon, dimension
---opts.relative boolean =true ridges are multiplied by trace(K)/n
---@return table frobenius, centred, low, high, epsilon, dimension (the statistical dimension,
---trace K (K + ridge)^-1), ridge (absolute)
---source: Han et al. 2022 (arXiv 2209.04121), Theorem 3 and its proof
ml.sketch.quality = function(...) end

---ml.sketch.sparse(X) or ml.sketch.sparse{ offsets =, columns =, values =, dim = }
---Rows of which only the values that are not zero are kept (compressed sparse rows). All sketches
---take them: count_sketch and osnap, and a poly_sketch with one of these as its base, at a cost
---that follows the number of values; the Hadamard transforms, which mix all coordinates, a block
---of rows after the other at the cost of dense rows.
---@param X tensor [n,d] f32 or f64, or a table of the fields below
---opts.offsets tensor [n+1] index, where the values of each row start, the last one more
---than their number
---opts.columns tensor [nnz] index
---opts.values tensor [nnz] f32 or f64
---opts.dim integer coordinates of a row
---@return sparse rows, to be given to a sketch
---source: -
ml.sketch.sparse = function(...) end

---ml.sketch.srht{ dim, seed } or { signs, indices }
---The subsampled randomized Hadamard transform: signs, the Hadamard transform H of the row padded
---with zeros, dim of its places, all over the square root of dim.
---opts.dim integer columns of the result
---opts.seed integer =1 of every draw
---opts.signs tensor [d] or list of +1 and -1
---opts.indices tensor [dim] or list of places, 1 to the power of two that holds d
---@return sketch to be called with points tensor [n,d] or with sparse rows; gives [n,dim]
---source: Ailon & Chazelle 2009; Tropp 2011
ml.sketch.srht = function(...) end

---ml.sketch.tensor_srht{ dim, seed } or { signs = {s, s2}, indices = {i, i2} }
---TensorSRHT of degree 2: a sketch of the tensor product of a row of X and one of Z, the product
---place by place of two Hadamard transforms with signs of their own, over the square root of dim.
---opts.dim integer columns of the result
---opts.seed integer =1 of every draw
---opts.signs list of two, each +1 and -1 for every coordinate
---opts.indices list of two, each dim places
---@return sketch to be called with tensors [n,d] and [n,e] or sparse rows, a pair of them in a
---list, or one for both; gives [n,dim]
---source: Ahle et al. 2020, Definition 15
ml.sketch.tensor_srht = function(...) end

---softmax(x, axis)
---exp(x) / sum(exp(x)) along axis, without overflow.
---@param x tensor f32 or f64 of any shape
---@param axis integer =-1 from 1, negative from the end
---@return tensor like x, differentiable
---source: -
ml.softmax = function(...) end

---softplus(x)
---log(1 + e^x), element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.softplus = function(...) end
ml.solve = {}

---ml.solve.cg(A, b, { tol, max_steps, ridge, preconditioner, start })
---Conjugate gradients for (A + ridge I) x = b with A symmetric positive definite, on all columns
---of b together, so that a step is one matrix product; each column has step sizes of its own and
---stands still once it has arrived.
---@param A tensor [n,n] f32 or f64, or a function (x [n,c] f64) -> A x
---@param b tensor [n] or [n,c] f32 or f64
---opts.tol number =1e-8 of |b - A x| / |b|, the largest over the columns
---opts.max_steps integer =10n iterations at most
---opts.ridge number =0 >= 0
---opts.preconditioner function (r [n,c]) -> P^-1 r, or what nystrom returns
---opts.start tensor =zeros like b
---@return tensor x like b
---@return table info: converged, steps, residuals (list, relative, from the start on); raises
---where A or the preconditioner is not positive definite
---source: Hestenes & Stiefel 1952
ml.solve.cg = function(...) end

---ml.solve.cholesky(A, { ridge })
---The lower L with A + ridge I = L L^T.
---@param A tensor [n,n] f64, symmetric positive definite; the lower triangle is read
---opts.ridge number =0 added to the diagonal, >= 0
---@return tensor L [n,n]; raises with the leading minor that is not positive
---source: Golub & Van Loan 2013, 4.2
ml.solve.cholesky = function(...) end

---ml.solve.eigenpro{ kernel =, X =, y =, epochs =, ... }
---Kernel regression by stochastic gradient steps whose largest directions, estimated from a sample
---of the points, are damped, so that the rest may take large steps. It has no ridge: epochs
---regularize.
---opts.kernel function (X, X2) -> K, or a kernel of ml.kernel
---opts.of string ="nngp" or "ntk", of a kernel of ml.kernel
---opts.X tensor [n,...], a point each
---opts.y tensor [n] or [n,c]
---opts.epochs integer =10 passes over the points
---opts.batch integer =256 at most n
---opts.sample integer =2000 points that the directions come from, at most n
---opts.directions integer =100 how many are damped, below sample
---opts.step number =1 multiple of the step size of the theory, in (0, 2)
---opts.seed integer =1 of every draw
---@return model as of ml.solve.model
---@return table info: train (mean squared error of each epoch, before each batch's step), rate,
---speedup (largest over first undamped eigenvalue); raises when it diverges
---source: Ma & Belkin 2019, Algorithm 1
ml.solve.eigenpro = function(...) end

---ml.solve.eigh(A)
---Eigenvalues and eigenvectors of a symmetric matrix, by LAPACK's dsyevd on one thread; a long call
---prints its estimate first.
---@param A tensor [n,n] f64, symmetric; the lower triangle is read
---@return tensor lambda [n], ascending
---@return tensor V [n,n], eigenvectors in its columns: A = V diag(lambda) V^T; raises when A is not
---finite
---source: LAPACK, dsyevd
ml.solve.eigh = function(...) end

---ml.solve.falkon{ kernel =, X =, y =, centres =, ridge =, ... }
---Kernel regression on some of the points as centres: beta minimizes |K_nM beta - y|^2 + ridge
---beta^T K_MM beta, by preconditioned conjugate gradients; a step is one pass over blocks of K_nM.
---opts.kernel function (X, X2) -> K, or a kernel of ml.kernel
---opts.of string ="nngp" or "ntk", of a kernel of ml.kernel
---opts.X tensor [n,...], a point each
---opts.y tensor [n] or [n,c]
---opts.centres integer or tensor how many, drawn from X without replacement; or the centres
---opts.ridge number in the unit of K, > 0 (n times the lambda of the paper)
---opts.tol number =1e-7 of cg
---opts.max_steps integer =100 of cg
---opts.block integer =1024 rows of K_nM at a time
---opts.store boolean =true where it fits a quarter of the memory that is left keeps K_nM
---opts.seed integer =1 of the draw
---@return model as of ml.solve.model
---@return table info of cg, with jitter (what was added to the kernel of the centres)
---source: Rudi, Carratino & Rosasco 2017, Equations 8 to 13
ml.solve.falkon = function(...) end

---ml.solve.gradient_flow(K, y, { t })
---Gradient flow from 0 on the loss 1/(2n) sum of squares, in function space: at time t the
---coefficients alpha = K^-1 (I - exp(-K t / n)) y, so that predictions at other points are
---K(those, these) alpha.
---@param K tensor [n,n] f32 or f64, symmetric positive semidefinite; eigenvalues that rounding
---made negative count as 0
---@param y tensor [n] or [n,c] of the same dtype
---opts.t number or list times, >= 0; infinity is allowed where K is positive definite
---@return tensor alpha like y; a list of them where t is a list
---@return table info: fitted (K alpha, in the same form), max_rate (2 n over the largest
---eigenvalue: the learning rate above which gradient descent on this loss diverges)
---source: Jacot, Gabriel & Hongler 2018; Lee et al. 2019, Equation 8
ml.solve.gradient_flow = function(...) end

---ml.solve.krr(K, y, { ridge, relative, jitter, condition })
---Kernel ridge regression: alpha with (K + ridge I) alpha = y, by Cholesky in f64. Predictions at
---other points are K(those, these) alpha.
---@param K tensor [n,n] f32 or f64, symmetric positive semidefinite; the lower triangle counts
---@param y tensor [n] or [n,c] of the same dtype, a column for each output
---opts.ridge number =0 in the unit of K, >= 0; 0 needs K positive definite
---opts.relative boolean =false ridge is multiplied by trace(K)/n
---opts.jitter boolean =false where the factorization fails, adds the least of 1e-12
---trace(K)/n times 1, 10, 100 ... that it takes
---opts.condition boolean =false estimates the condition number of what was factored
---@return tensor alpha, shape and dtype of y
---@return table info: ridge (in the unit of K), jitter (what was added beyond it), condition;
---raises with the failing minor and a ridge that would do
---source: Saunders, Gammerman & Vovk 1998
ml.solve.krr = function(...) end

---ml.solve.krr_path(K, y, { ridges, relative })
---Kernel ridge regression at many ridges from one eigendecomposition, with the exact leave-one-out
---error and generalized cross-validation of each.
---@param K tensor [n,n] f32 or f64, symmetric positive semidefinite; eigenvalues that rounding
---made negative count as 0
---@param y tensor [n] or [n,c] of the same dtype
---opts.ridges list in the unit of K, >= 0; 0 needs K positive definite
---opts.relative boolean =false ridges are multiplied by trace(K)/n
---@return path with lists over the ridges: ridges (in the unit of K), loo (mean squared error of
---the points left out, over rows and columns), gcv (the same by generalized cross-validation), dof
---(degrees of freedom), train (mean squared error); best and best_gcv, the places of the least;
---condition; alpha(i)
---source: Golub, Heath & Wahba 1979; Rifkin & Lippert 2007
ml.solve.krr_path = function(...) end

---ml.solve.load_model(path, { kernel, of })
---A model that was saved.
---@param path string
---opts.kernel function or kernel the one it was fitted with
---opts.of string =what was saved; "nngp" or "ntk"
---@return model as of ml.solve.model; or nil and a message when there is no such file
---source: -
ml.solve.load_model = function(...) end

---ml.solve.lstsq(A, b, { rcond })
---The x of least norm among those that minimize |A x - b|, by the singular value decomposition.
---@param A tensor [m,n] f64
---@param b tensor [m] or [m,c] f64
---opts.rcond number =eps max(m, n) singular values below rcond times the largest count as 0
---@return tensor x, [n] or [n,c]
---@return table info: rank, singular_values
---source: Golub & Van Loan 2013, 5.5
ml.solve.lstsq = function(...) end

---ml.solve.model{ centres =, alpha =, kernel =, of = }
---A kernel regression to predict with and to save: what krr and its like gave, with their points.
---opts.centres tensor [n,...], the points whose coefficients they are
---opts.alpha tensor [n] or [n,c]
---opts.kernel function (X, X2) -> K, or a kernel of ml.kernel
---opts.of string ="nngp" or "ntk", of a kernel of ml.kernel
---@return model with predict(X, opts) and save(path)
---source: -
ml.solve.model = function(...) end

---ml.solve.nystrom(A, { rank, ridge, seed, n })
---A randomized Nystrom approximation of a symmetric positive semidefinite A, A ~ U diag(l) U^T, to
---be called as a preconditioner of A + ridge I.
---@param A tensor [n,n] f32 or f64, or a function (x [n,k] f64) -> A x
---opts.rank integer columns of the sketch, at most n
---opts.ridge number of the system to be preconditioned, > 0
---opts.seed integer =1 of every draw
---opts.n integer rows, where A is a function
---@return nystrom with vectors U [n,rank], values [rank] (descending) and ridge; called with r
---[n,c] it returns P^-1 r
---source: Frangella, Tropp & Udell 2023, Algorithm 2.1 and Equation 1.3
ml.solve.nystrom = function(...) end

---ml.solve.qr(A)
---A = Q R with orthonormal columns of Q and upper triangular R, by LAPACK on one thread.
---@param A tensor [m,n] f64, m >= n
---@return tensor Q [m,n]
---@return tensor R [n,n]
---source: LAPACK, dgeqrf
ml.solve.qr = function(...) end

---ml.solve.ridge(Z, y, { ridge, ridges, relative, block, jitter })
---Ridge regression on features: w with (Z^T Z + ridge I) w = Z^T y, the minimizer of |Z w - y|^2 +
---ridge |w|^2. Products are summed in f64 over blocks of rows, whatever the dtype of Z, so that
---features need not be stored: Z may be a function that makes them. With fewer points than
---features the dual is solved.
---@param Z tensor [n,m] f32 or f64; or a function (i) -> block, targets, nil after the last
---@param y tensor [n] or [n,c] of the same dtype; nil where Z is a function
---opts.ridge number =0 in the unit of Z Z^T, >= 0
---opts.ridges list instead of ridge: returns a path
---opts.relative boolean =false ridges are multiplied by trace(Z Z^T)/n
---opts.block integer =1024 rows at a time
---opts.jitter boolean =false as in krr
---@return tensor w [m] or [m,c]; or a path as of krr_path, whose alpha(i) are weights; loo is
---NaN where Z is a function
---@return table info: ridge, jitter, dual
---source: Hoerl & Kennard 1970
ml.solve.ridge = function(...) end

---ml.solve.svd(A)
---A = U diag(s) Vt with k = min(m, n) singular values, by LAPACK on one thread.
---@param A tensor [m,n] f64
---@return tensor U [m,k]
---@return tensor s [k], descending
---@return tensor Vt [k,n]
---source: LAPACK, dgesdd
ml.solve.svd = function(...) end

---ml.solve.triangular(L, b, { transposed })
---Solves L x = b, or L^T x = b.
---@param L tensor [n,n] f64, lower triangular
---@param b tensor [n] or [n,c] f64
---opts.transposed boolean =false
---@return tensor like b
---source: Golub & Van Loan 2013, 3.1
ml.solve.triangular = function(...) end

---sort(x, axis, opts)
---Sorts along an axis; equal values keep their order, NaN counts as the largest (so descending has
---it first).
---@param x tensor of any shape
---@param axis integer =-1 from 1, negative from the end
---opts.descending boolean =false
---@return tensor like x, sorted, differentiable
---@return tensor index of x's shape: where each came from
---source: -
ml.sort = function(...) end

---ml.sorted(t)
---Iterates over a table's pairs in the order of their keys: numbers first, then strings bytewise,
---then the rest by type.
---@param t table
---@return function an iterator for `for key, value in ml.sorted(t) do`
---source: Lua reseeds string hashing per process: pairs(t) has no order that a file could keep
ml.sorted = function(...) end

---split(x, parts, axis)
---Cuts an axis into parts, which share storage.
---@param x tensor of any shape
---@param parts integer (that many equal parts; must divide the size) or table of sizes
---@param axis integer =1 from 1, negative from the end
---@return table of tensors of x's shape apart from axis, differentiable
---source: -
ml.split = function(...) end

---@class ml.split
local split_methods = {}

---split:fraction(share, { seed })
---The same split with a share of the seen subjects; smaller shares are within larger ones. Partly
---visible prompts of other subjects go, the invisible ones stay.
---@param share number in (0, 1]
---opts.seed integer =split.seed of the order of subjects
---@return split
---source: -
function split_methods:fraction(...) end

---split:save(path)
---Writes the split as JSON, which ml.kg.load_split reads with the same graph.
---@param path string
---source: -
function split_methods:save(...) end

---split:triplets()
---What the training text consists of: { subject, predicate, object } as the text has them.
---@return table list
---source: -
function split_methods:triplets(...) end

---sqrt(x)
---The square root; NaN below 0, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.sqrt = function(...) end

---square(x)
---x^2, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.square = function(...) end

---squeeze(x, axis)
---Drops an axis of size 1, or all of them. Shares storage.
---@param x tensor of any shape
---@param axis integer =nil from 1, negative from the end; absent: every one of size 1
---@return tensor of x's shape without what was dropped, differentiable
---source: -
ml.squeeze = function(...) end

---stack(list, axis)
---Joins tensors of one shape along a new axis.
---@param list table of tensors of one dtype and shape
---@param axis integer =1 number of the new axis
---@return tensor of their shape with the new axis, differentiable
---source: -
ml.stack = function(...) end
ml.stats = {}

---ml.stats.average_precision(scores, labels, { ties, base_rate, weights })
---The area under the precision-recall curve as the sum of precision x step of recall, scores
---descending. Equal scores are one step (ties = "grouped"), or averaged over all their orders
---(ties = "expected"). A useless detector scores the base rate: compare data of different base
---rates by base_rate, or by info.lift.
---@param scores list or tensor [n], higher means more likely positive; infinities are allowed, nan
---is not
---@param labels list or tensor [n] of true and false, or 1 and 0
---opts.ties string ="grouped" or "expected" (without weights and base_rate)
---opts.base_rate number =nil reweights the positives so that this is their share, between 0
---and 1
---opts.weights list or tensor [n] =nil weights >= 0 of the entries
---@return number average precision in (0, 1], or nil with "no positive labels"
---@return table info: base_rate (share of positives, in weight), lift ((ap - base_rate)/(1 -
---base_rate); nan without negatives), positives and negatives (their weight as given), thresholds
---(descending) with precision and recall of the rule score >= threshold
---source: grouped: Zhu 2004; expected: McSherry & Najork 2008
ml.stats.average_precision = function(...) end

---ml.stats.beta_cdf(x, { a, b })
---The probability that a beta variable is at most x: the regularized incomplete beta function
---I_x(a, b).
---@param x number below 0 counts as 0, above 1 as 1
---@param shape table { a, b }, both > 0
---@return number
---source: Press et al. 2007, section 6.4 (Lentz's continued fraction); front factor as in Loader
---2000
ml.stats.beta_cdf = function(...) end

---ml.stats.beta_quantile(p, { a, b })
---The x below which a beta variable falls with probability p.
---@param p number 0 to 1
---@param shape table { a, b }, both > 0
---@return number 0 to 1
---source: the root of beta_cdf by Newton's method inside a bracket
ml.stats.beta_quantile = function(...) end

---ml.stats.bootstrap(x, { statistic, resamples, level, method, seed | rng })
---An interval for a statistic of a sample, from resamples of its entries with replacement. Samples
---that belong together (scores and labels) go in as a list and are resampled by the same
---positions: ml.stats.bootstrap({ s, l }, { statistic = ml.stats.average_precision }).
---@param x list or tensor [n] or [n,...] (rows are entries), or a list of several of them; n >= 2,
---finite
---opts.statistic string|function ="mean" also sum, median, var, std (divisor n - 1); or a
---function of one f64 tensor per sample that returns a number first, or nil or nan where it has no
---value (left out and counted in info.invalid)
---opts.resamples integer =10000 draws
---opts.level number =0.95 of the interval, in (0, 1)
---opts.method string ="percentile", "basic", or "bca" (n further evaluations)
---opts.seed integer =1 of every draw
---opts.rng ml.rng =nil advanced by the draws; instead of seed
---@return number low
---@return number high
---@return table info: estimate (on x itself), stderr (standard deviation over resamples), bias
---(mean over resamples - estimate), distribution (tensor f64 [resamples]), invalid, resamples,
---level, method
---source: Efron 1979; bca: Efron 1987
ml.stats.bootstrap = function(...) end

---ml.stats.brier(p, outcomes)
---The mean squared difference between the probability of an event and whether it happened.
---@param p list or tensor [n], 0 to 1
---@param outcomes list or tensor [n] of true and false, or 1 and 0
---@return number 0 (best) to 1
---source: Brier 1950, in the form for one event
ml.stats.brier = function(...) end

---ml.stats.calibration(p, outcomes, { bins, strategy })
---Do events of probability p happen in a share p of cases? The expected calibration error:
---|outcome rate - mean p| per bin, averaged with the bins' shares. For many classes give the
---confidence and whether the answer was right.
---@param p list or tensor [n], 0 to 1
---@param outcomes list or tensor [n] of true and false, or 1 and 0
---opts.bins integer =10 of equal width, >= 1
---opts.strategy string ="width" (bins ](i-1)/bins, i/bins], 0 in the first) or "mass"
---(nearly equal counts, equal p together)
---@return number expected calibration error, 0 to 1
---@return table info: mce (the largest gap of a bin), brier, n, and reliability: a list of { low,
---high, n, confidence (mean p), rate (share of outcomes), gap (rate - confidence) } of the bins
---that are not empty, low and high the bin's ends (of "mass": its least and largest p)
---source: Guo et al. 2017
ml.stats.calibration = function(...) end

---ml.stats.clopper_pearson(k, n, { level })
---The exact interval of a proportion from k successes in n trials: covers at least `level`, and is
---wide.
---@param k integer 0 to n
---@param n integer >= 1
---opts.level number =0.95 of the interval, in (0, 1)
---@return number low
---@return number high
---source: Clopper & Pearson 1934
ml.stats.clopper_pearson = function(...) end

---ml.stats.kendall(x, y)
---Kendall's tau-b: concordant less discordant pairs, over the geometric mean of the pairs that x
---and y tell apart.
---@param x list or tensor [n], n >= 2; infinities are allowed, nan is not
---@param y list or tensor [n]
---@return number tau in [-1, 1], or nil with "x is constant" or "y is constant"
---@return table info: p (two-sided, normal approximation with ties), concordant, discordant,
---ties_x, ties_y (pairs; a pair equal in both counts in both), n
---source: Kendall 1945; counted as in Knight 1966
ml.stats.kendall = function(...) end

---ml.stats.majority_vote(answers, { normalize, n })
---The most frequent answer; ties go to the one that came first. false does not vote (no parsable
---answer).
---@param answers list or tensor [n] of strings, numbers, true, or false for an abstention
---opts.normalize function =nil answer -> answer that is counted; nil or false: abstains
---opts.n integer =#answers reads answers[1..n], where nil abstains too
---@return any the winner (as normalized), or nil with "no votes"
---@return table info: count (votes of the winner), voters, n, share (count / n), tied (another
---answer has as many), votes (table answer -> count)
---source: Wang et al. 2023 (self-consistency)
ml.stats.majority_vote = function(...) end

---ml.stats.mean(x, { level })
---The mean and its standard error, std / sqrt(n), as seeds or problems are summed up.
---@param x list or tensor [n], finite, n >= 1
---opts.level number =0.95 of the interval
---@return number mean
---@return number standard error; nan when n is 1
---@return table info: std (divisor n - 1), low and high (Student's t interval), n
---source: Student 1908
ml.stats.mean = function(...) end

---ml.stats.normal_cdf(z)
---The probability that a standard normal variable is at most z.
---@param z number any
---@return number
---source: erfc of the C library
ml.stats.normal_cdf = function(...) end

---ml.stats.normal_quantile(p)
---The z below which a standard normal variable falls with probability p; -inf at 0 and inf at 1.
---@param p number 0 to 1
---@return number about 16 digits
---source: Wichura 1988 (algorithm AS 241, PPND16)
ml.stats.normal_quantile = function(...) end

---ml.stats.paired(a, b, { statistic, resamples, level, method, seed | rng })
---Does a beat b on the same problems? The paired bootstrap of the difference: problems are
---resampled, a and b keep together, so that the difficulty they share cancels.
---@param a list or tensor [n], finite, n >= 2: results of one model
---@param b list or tensor [n] of another on the same problems, in the same order
---opts.statistic string|function ="mean" of a - b; also sum, median, var, std; or a
---function of the resampled a and b, f64 tensors [n], that returns a number
---opts.resamples integer =10000 draws
---opts.level number =0.95 of the interval, in (0, 1)
---opts.method string ="percentile", "basic" or "bca"
---opts.seed integer =1 of every draw
---opts.rng ml.rng =nil advanced by the draws; instead of seed
---@return number low, of the interval of the difference
---@return number high
---@return table info as ml.stats.bootstrap has it, and: p (two-sided: how often the difference,
---centred on 0, is as large as that found, counting the one found) and wins (share of resamples
---where it is positive, ties one half)
---source: Efron & Tibshirani 1993; p as in Berg-Kirkpatrick, Burkett & Klein 2012
ml.stats.paired = function(...) end

---ml.stats.pass_at_k(n, c, { k })
---The probability that at least one of k samples is right, estimated without bias from n samples
---of which c are right: 1 - C(n - c, k) / C(n, k). With a list of c, one per problem, the mean
---over problems.
---@param n integer, or list or tensor [problems] of them: samples drawn, >= k
---@param c integer, or list or tensor [problems] of them: right ones, 0 to n
---opts.k integer =1 or a list of them, 1 to n; a list gives lists
---@return number pass@k, or list of them as k is
---@return number with several problems: the standard error over problems, std / sqrt(problems);
---nil for a single count
---@return table with several problems, info: problems (their number), values (list of pass@k per
---problem; a list of such lists when k is one)
---source: Chen et al. 2021, section 2.1
ml.stats.pass_at_k = function(...) end

---ml.stats.pearson(x, y)
---The linear correlation coefficient.
---@param x list or tensor [n], finite, n >= 2
---@param y list or tensor [n], finite
---@return number r in [-1, 1], or nil with "x is constant" or "y is constant"
---@return table info: p (two-sided, Student's t with n - 2 degrees of freedom; nan for n = 2), n
---source: Pearson 1895
ml.stats.pearson = function(...) end

---ml.stats.permutation_test(a, b, { paired, alternative, resamples, seed | rng })
---Is the difference of means more than chance? Exchanges the labels a and b: within each pair
---(paired), or among all entries. All exchanges are counted when there are at most `resamples` of
---them, else that many are drawn.
---@param a list or tensor [n], finite
---@param b list or tensor [m], finite; [n] when paired
---opts.paired boolean =false
---opts.alternative string ="two-sided", "greater" (a above b) or "less"
---opts.resamples integer =10000 draws
---opts.seed integer =1 of every draw
---opts.rng ml.rng =nil advanced by the draws; instead of seed
---@return number p: the share of exchanges whose difference is as extreme as that found; when
---drawn, (1 + count)/(1 + resamples)
---@return table info: estimate (mean of a - mean of b), exact (boolean), resamples (exchanges
---looked at)
---source: Fisher 1935; drawn ones: Phipson & Smyth 2010
ml.stats.permutation_test = function(...) end

---ml.stats.quantile(x, q)
---Quantiles, linear between order statistics; ml.stats.quantile(x, 0.5) is the median.
---@param x list or tensor [n], n >= 1; infinities are allowed, nan is not
---@param q number, or list of numbers, 0 to 1
---@return number, or list of numbers as q is
---source: Hyndman & Fan 1996, definition 7 (NumPy's default)
ml.stats.quantile = function(...) end

---ml.stats.ranks(x)
---Ranks from 1 in ascending order; equal values share the mean of their ranks.
---@param x list or tensor [n]; infinities are allowed, nan is not
---@return list of n numbers
---source: Kendall 1945
ml.stats.ranks = function(...) end

---ml.stats.risk_coverage(confidence, correct)
---What is gained by abstaining: the error rate among the answers of highest confidence, for every
---coverage. Equal confidences are taken or left together.
---@param confidence list or tensor [n]; infinities are allowed, nan is not
---@param correct list or tensor [n] of true and false, or 1 and 0
---@return number area under the curve: risk averaged over the answers taken, from the most
---confident on
---@return table info: the lists coverage (ascending to 1), risk, thresholds (answers of confidence
--->= threshold are given)
---source: Geifman & El-Yaniv 2017
ml.stats.risk_coverage = function(...) end

---ml.stats.roc(scores, labels, { weights })
---The area under the ROC curve: the probability that a positive scores above a negative, ties
---counting one half; and the curve.
---@param scores list or tensor [n], higher means more likely positive; infinities are allowed, nan
---is not
---@param labels list or tensor [n] of true and false, or 1 and 0
---opts.weights list or tensor [n] =nil weights >= 0 of the entries
---@return number area in [0, 1], or nil with "no positive labels" or "no negative labels"
---@return table info: stderr (DeLong; nan with weights or fewer than two of a class), positives
---and negatives (their weight), and the lists fpr, tpr, thresholds from (0, 0, inf) to (1, 1,
---least score) of the rule score >= threshold
---source: Fawcett 2006; standard error: DeLong, DeLong & Clarke-Pearson 1988
ml.stats.roc = function(...) end

---ml.stats.spearman(x, y)
---Spearman's rank correlation: Pearson's of the ranks, equal values sharing their mean rank.
---@param x list or tensor [n], n >= 2; infinities are allowed, nan is not
---@param y list or tensor [n]
---@return number rho in [-1, 1], or nil with "x is constant" or "y is constant"
---@return table info: p (two-sided, Student's t with n - 2 degrees of freedom; nan for n = 2), n
---source: Spearman 1904
ml.stats.spearman = function(...) end

---ml.stats.t_cdf(t, dof)
---The probability that Student's t with dof degrees of freedom is at most t.
---@param t number any
---@param dof number > 0, need not be whole; math.huge is the normal distribution
---@return number
---source: Abramowitz & Stegun 1964, 26.7.1 through the incomplete beta function
ml.stats.t_cdf = function(...) end

---ml.stats.t_quantile(p, dof)
---The t below which Student's t with dof degrees of freedom falls with probability p; -inf at 0
---and inf at 1.
---@param p number 0 to 1
---@param dof number > 0, need not be whole; math.huge is the normal distribution
---@return number
---source: Abramowitz & Stegun 1964, 26.7.1; the root by Newton's method inside a bracket
ml.stats.t_quantile = function(...) end

---ml.stats.wilson(k, n, { level })
---The score interval of a proportion from k successes in n trials. Holds at the ends: 0 of n gives
---low = 0.
---@param k integer 0 to n
---@param n integer >= 1
---opts.level number =0.95 of the interval, in (0, 1)
---@return number low
---@return number high
---source: Wilson 1927
ml.stats.wilson = function(...) end

---std(x, axes, opts)
---The standard deviation, sqrt(var), of gradient 0 where it is 0, over the given axes, or over all
---elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---opts.ddof integer =0 1 divides by n - 1
---@return tensor of x's shape without the reduced axes, 0-d over all, differentiable
---source: -
ml.std = function(...) end

---sub(x, y)
---x - y, element by element, with broadcasting (trailing axes align; each equal or 1).
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number
---@return tensor of the broadcast shape, differentiable
---source: -
ml.sub = function(...) end

---sum(x, axes, opts)
---The sum (of u8: a count, in f64) over the given axes, or over all elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---@return tensor of x's shape without the reduced axes, 0-d over all, differentiable
---source: -
ml.sum = function(...) end

---ml.sweep{ recipe =, grid = { name = values }, workers =, ... }
---Runs a recipe at every combination of values. Each point is a run of the store whose id is the
---hash of its whole configuration, so that none is run twice, also by two sweeps at once. Workers
---are processes of their own; kill anything and call again: finished points are skipped,
---unfinished ones continue from their checkpoint. A point that fails, diverges or kills its worker
---is recorded and the sweep goes on. Ctrl-C stops cleanly.
---@param recipe string a name, or the path of a .lua file
---@param grid table name -> list of values, one value, { low =, high = } to draw from, or words as
---on the command line ("32:256:x2", "1..3"); a list of lists for a parameter that is a list
---@param workers integer =the number of threads; fewer where the recipe's estimate says that
---memory would not do
---@param threads integer =threads / workers of each worker
---@param size string ="default" or "smoke", "full"
---@param random integer so many draws instead of all combinations: from lists evenly, from low to
---high evenly, or evenly in the logarithm when that spans a factor of ten; seeds are not drawn,
---every draw is run with each
---@param random_seed integer =1 of the draws
---@param adapt string a parameter whose grid values are the start of a search: extended to the
---right until the run diverges, to the left until the optimum is bracketed
---@param extend integer =8 values beyond the first ones in each direction
---@param minimize string the result that points are compared by; or maximize; else the recipe's
---own
---@param tries integer =3 times that a point may take its worker with it before it counts as
---failed
---@param retry boolean =false failed points of before are run again
---@param rerun_changed boolean =false runs that other code of the recipe has computed or begun are
---set aside under another id and run anew; else they count as they are, and the table says so
---@param store string =ml.runs.store() folder of the runs
---@param quiet boolean =false
---@return sweep { id, dir, runs = list of { id, dir, params, state, message, results, seconds,
---changed },
---counts, best = { params, value, stderr, runs }, search } with sweep:column(name), a tensor, and
---sweep:text(); printing it shows the table
---source: -
ml.sweep = function(...) end

---@class ml.sweep
local sweep_methods = {}

---sweep:column(name)
---One column over all runs: a parameter, a result, "id", "state" or "seconds".
---@param name string
---@return tensor [runs] f64 when all values that are there are numbers, NaN where there is none;
---else a list with false for what is missing
---source: -
function sweep_methods:column(...) end

---sweep:text()
---The table as it is printed: a row per run, how many ended how, the best point.
---@return string
---source: -
function sweep_methods:text(...) end
ml.system = {}

---system.chart_library()
---The JavaScript that draws curves in reports and the live page (dygraphs), built in.
---@return string, or nil and a message when the build found none
---source: -
ml.system.chart_library = function(...) end

---system.fetch()
---Many HTTP requests at once, over libcurl: certificates are checked, redirects are not followed.
---@return fetch with the methods start { url, body, headers (list of lines), connect_seconds,
---total_seconds, idle_seconds, most_bytes, get } -> id; next(timeout) -> id, { status, body, error,
---retry_after, seconds }; pending; close; or nil and a message when libcurl is missing
---source: -
ml.system.fetch = function(...) end

---system.hash(text)
---A hash of 128 bits, the same on every machine; no secret.
---@param text string
---@return string 32 hexadecimal digits
---source: -
ml.system.hash = function(...) end

---system.http(opts)
---An HTTP server for the browser of this machine: listens on 127.0.0.1, answers GET with its own
---name in the Host header, and POST of JSON where a size is given; refuses all else by itself.
---opts.port integer =0 0: any that is free
---opts.most_body integer =0 bytes of a POST; 0: GET only
---@return http with the methods port, next, answer, close; or nil and a message when the port is
---taken or libmicrohttpd is missing
---source: -
ml.system.http = function(...) end

---system.lease(dir, opts)
---Makes this process the one writer of a folder, by exclusive creation of a lease file, kept alive
---by a
---heartbeat. Takes over a lease that was given back or whose owner has died, which of several
---takers only one can.
---@param dir string
---opts.timeout number =60 seconds without a heartbeat after which an owner on another machine
---counts as dead
---opts.interval number =5 seconds between heartbeats
---@return lease, or nil, a message and a table { host, pid, age, released, live, generation } when
---another one holds it
---source: -
ml.system.lease = function(...) end

---system.lease_holder(dir, opts)
---Who holds or last held the lease of a folder.
---@param dir string
---opts.timeout number =60 seconds without a heartbeat after which an owner on another machine
---counts as dead
---@return table { host, pid, age, released, live, generation }, or nil
---source: -
ml.system.lease_holder = function(...) end

---system.log(path, opts)
---Opens a file for appending; each write goes to the system at once.
---@param path string
---opts.lines boolean =false cut off a last line that lacks its end
---@return log with the methods write, sync, close
---source: -
ml.system.log = function(...) end

---system.make_dirs(path)
---Makes a folder and those above it; one that is there is fine.
---@param path string
---source: -
ml.system.make_dirs = function(...) end

---system.process()
---This process.
---@return table { host, pid, start: clock ticks after boot }
---source: -
ml.system.process = function(...) end

---system.sleep(seconds)
---Waits; Ctrl-C ends it.
---@param seconds number >= 0
---source: -
ml.system.sleep = function(...) end

---system.spawn{ program, arguments..., options }
---Starts a child process. It gets the standard streams and nothing else that is open here.
---@param words strings the program, looked for in PATH unless its name has a slash, and its
---arguments
---opts.env table name -> value; false removes the name
---opts.dir string =here where it starts
---opts.stdin string ="null" or "inherit", "pipe", "<path"
---opts.stdout string ="inherit" or "null", "pipe", ">path", ">>path" to append
---opts.stderr string ="inherit" or as stdout, or "stdout": where stdout goes
---opts.group boolean =false it leads a process group of its own, which the terminal's Ctrl-C does
---not reach
---@return child with the methods pid, wait, kill, read, write, close_stdin, close; or nil and a
---message when there is no such program
---source: -
ml.system.spawn = function(...) end

---system.sqlite(path, opts)
---Opens or makes an SQLite database.
---@param path string
---opts.read_only boolean =false
---opts.wait number =30 seconds to wait for a lock of another process
---@return db with the methods exec, prepare, close
---Raises when the file is damaged ("the database is damaged") or stays locked ("locked").
---source: SQLite 3
ml.system.sqlite = function(...) end

---system.stamp(path)
---A word that changes when the file does: inode, size and time in nanoseconds.
---@param path string
---@return string, or nil when there is no such file
---source: -
ml.system.stamp = function(...) end

---system.wait_any(children, timeout)
---Waits until one of them has ended; with an empty list it sleeps.
---@param children table list
---@param timeout number =nil seconds; absent: for ever
---@return integer position of one that has ended, or nil
---source: -
ml.system.wait_any = function(...) end

---tan(x)
---The tangent, x in radians, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.tan = function(...) end

---tanh(x)
---The hyperbolic tangent, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
ml.tanh = function(...) end
ml.target = {}

---ml.target.http{ base_url, model, key_env, chat, cache, concurrency, max_requests, ... }
---A model behind an OpenAI-compatible endpoint.
---opts.base_url string such as "http://127.0.0.1:8000/v1"
---opts.model string its name there
---opts.key_env string =nil name of the environment variable that holds the key, which is
---written nowhere
---opts.chat boolean =false chat completions
---opts.system string =nil first message of a chat
---opts.cache string =nil path of a file of JSON lines: what stands there is not asked again
---opts.concurrency integer =4 requests at once
---opts.max_requests integer =nil cap, beyond which it raises
---opts.max_total_tokens integer =nil cap on the tokens that the server counts
---opts.retries integer =6 of a request that failed in a way that may pass
---opts.backoff number =1 seconds before the first of them, doubled each time, with jitter;
---a Retry-After header is honoured instead
---opts.longest_wait number =300 seconds
---opts.connect_seconds number =10 longest
---opts.total_seconds number =120 longest for a whole answer
---opts.idle_seconds number =60 longest without a byte
---opts.most_bytes integer =16777216 of an answer
---opts.top_logprobs integer =20 asked for of the first token
---opts.samples integer =8 answers of a prompt where log-probabilities are not told
---opts.stop list of strings that end a sampled answer ={ "\n" }
---@return target with answer_dist, complete, probe, close; usage, capabilities; or nil and a
---message when libcurl is missing
---source: OpenAI's completions and chat completions
ml.target.http = function(...) end

---ml.target.local_lm(lm, { codec, name, stop })
---A decoder as a target of questions.
---@param lm decoder
---opts.codec tokenizer with encode(text) and decode(ids) =bytes
---opts.name string ="local"
---opts.stop list of words that end an answer =none
---@return target with answer_dist and complete; usage { requests, prompts, tokens_in, tokens_out,
---cached }; capabilities { exact, logprobs, chat }
---source: -
ml.target.local_lm = function(...) end

---@class ml.target
local target_methods = {}

---target:answer_dist(prompts, answers, { samples })
---How likely each answer is after each prompt: the probability of all its tokens.
---@param prompts list of strings, or of lists of ids
---@param answers list of strings
---opts.samples integer =nil for targets that have no probabilities; not used here
---@return table list, one for each prompt, of { p = { [answer] = probability }, other = the rest,
---exact = boolean, n = samples or nil, low, high = { [answer] = bound } or nil }
---source: -
function target_methods:answer_dist(...) end

---target:complete(prompts, { n, temperature, top_p, greedy, max_tokens, stop, seed })
---Continuations. Neither the batch nor the number of threads changes one.
---@param prompts list of strings, or of lists of ids
---opts.n integer =1 of each prompt
---opts.temperature number =1 > 0
---opts.top_p number =1 in (0, 1]
---opts.greedy boolean =false
---opts.max_tokens integer =16 new ones
---opts.stop list of words that end one and are cut off =the target's own
---opts.seed integer =1 of what is drawn
---@return table list, one for each prompt, of lists of { text, tokens (their number), logprob,
---finish = "stop" or "length" }
---source: -
function target_methods:complete(...) end
ml.task = {}

---ml.task.arithmetic{ train =, valid =, test =, longest =, two_digits =, hints =, grader =,
---  seed = }
---Chains of additions, subtractions and multiplications modulo 100, of two operations up to
---`longest`, each value as two digits. No problem is in two splits, in whatever style.
---opts.train integer =600 problems
---opts.valid integer =150 problems
---opts.test integer =400 problems
---opts.longest integer =5 operations, 2 to 6
---opts.two_digits boolean =false operands up to 99, which is much harder
---opts.hints number =0 share of the corpus whose prompts hold the answer, for
---rationalisation
---opts.grader string ="strict" or "lenient", of verify
---opts.seed integer =1 of the problems
---@return task with train, valid, test, styled (the test problems in other words), long (200 of
---one operation more), vocab (number of ids), context, stop (id that ends a solution), grader;
---methods prompt, solution, verify, self_test, corpus, batch, encode, decode, chance
---source: Singh et al. 2023 (arXiv 2312.06585), at the scale of a laptop
ml.task.arithmetic = function(...) end

---ml.task.equations{ train =, valid =, test =, hints =, grader =, seed = }
---Equations a x + b = c x + d with a, b, c of 1 to 9 and a whole solution of -20 to 20. The
---verifier puts the answer into the equation. No equation is in two splits, whichever side comes
---first, whatever multiplies both, in whatever style.
---opts.train integer =600 problems
---opts.valid integer =150 problems
---opts.test integer =400 problems
---opts.hints number =0 share of the corpus whose prompts hold the answer, for
---rationalisation
---opts.grader string ="strict" or "lenient", of verify
---opts.seed integer =1 of the problems
---@return task with train, valid, test, styled (the test problems in other words), long (200 with
---solutions of 21 to 40 in size), vocab (number of ids), context, stop (id that ends a solution),
---grader; methods prompt, solution, verify, self_test, corpus, batch, encode, decode, chance
---source: Singh et al. 2023 (arXiv 2312.06585), at the scale of a laptop
ml.task.equations = function(...) end

---ml.task.programs{ train =, valid =, test =, mismatched =, box =, seed = }
---Small Lua functions of 55 families (arithmetic of two integers, counting, choosing and changing
---in lists, strings) with constants, and on integers a step that follows. No two problems of any
---split do the same on 64 inputs, and none of the corpus does what one of a split does.
---opts.train integer =600 problems
---opts.valid integer =150 problems
---opts.test integer =300 problems
---opts.mismatched number =0.25 share of the corpus whose program is another's
---opts.box box of ml.sandbox.open that runs the programs; absent: one of its own, with a
---MiB and 100000 instructions for each call
---opts.seed integer =1 of the problems
---@return task with train, valid, test, styled (the test problems in other words), long (100 with
---two steps that follow), vocab (number of ids), context, stop (id that ends a solution), box;
---methods prompt, solution, verify, self_test, corpus, batch, encode, decode
---source: Singh et al. 2023 (arXiv 2312.06585), at the scale of a laptop
ml.task.programs = function(...) end

---@class ml.task
local task_methods = {}

---task:batch(pairs)
---Problems and solutions as a batch in which the solutions' tokens count alone.
---@param pairs list of { prompt = ids, solution = ids, weight = number or nil, 1 }
---@return table inputs and targets index [rows,T], mask f32 [rows,T]
---source: -
function task_methods:batch(...) end

---task:chance(k)
---The share of problems that k guesses among all answers, each as likely, are expected to solve:
---what pass@k has to be compared with.
---@param k integer >= 1
---@return number 1 - (1 - 1/answers)^k
---source: -
function task_methods:chance(...) end

---task:corpus(i, { batch, seed, only })
---Batch number i of the text that a base model learns from, which holds no problem of any split.
---@param i integer >= 1
---opts.batch integer =64 rows
---opts.seed integer =1 of the text
---opts.only string =nil "right", "sloppy" or "direct": rows of one component alone
---@return table inputs and targets index [rows,T], mask f32 [rows,T]: what lm:loss takes
---source: -
function task_methods:corpus(...) end

---task:decode(ids)
---The words of token ids.
---@param ids list of integers, or tensor index [n]
---@return string
---source: -
function task_methods:decode(...) end

---task:encode(text)
---Words, separated by spaces, as token ids; raises on a word that is not in the vocabulary.
---@param text string
---@return table list of ids
---source: -
function task_methods:encode(...) end

---task:prompt(problem, { hint })
---The token ids of a problem.
---@param problem table of task.train and its like
---opts.hint boolean =false the answer follows the question: what rationalisation asks with
---@return table list of ids
---source: -
function task_methods:prompt(...) end

---task:self_test()
---Both graders against what they must say: right solutions of every kind are right, empty, cut
---off, echoed and altered ones are not. Raises where it is not so.
---@return integer checks that were made
---source: -
function task_methods:self_test(...) end

---task:solution(problem, { kind })
---The token ids of a right solution: "working" (every step), "answer" (no step), "terse" (some
---values without their computation).
---@param problem table
---opts.kind string ="working"
---@return table list of ids, the last one ends it
---source: -
function task_methods:solution(...) end

---task:verify(problem, ids, { grader })
---Whether a solution is right. The strict grader takes the answer behind the last #, followed by
---the end and by nothing else; the lenient one the last number that was written, wherever it is.
---The working is looked at for info.honest only.
---@param problem table
---@param ids list of integers, or tensor index [n], with the end
---opts.grader string =task.grader "strict" or "lenient"
---@return boolean or nil where the verifier itself failed, which is neither
---@return table info: answer (nil where none can be read), honest (every step is as it should be),
---or message of a failure
---source: -
function task_methods:verify(...) end

---tensor(values, opts)
---A tensor of the numbers in nested tables; a number gives a 0-d tensor, booleans give u8.
---@param values number, nested table (rows of equal length), or tensor (copied, off the tape)
---opts.dtype string ="f64" f64, f32, index or u8
---@return tensor of the shape of the values
---Raises naming the entry that is no number, does not fit the dtype, or breaks the shape.
---source: -
ml.tensor = function(...) end

---@class ml.tensor
local tensor_methods = {}

---abs(x)
---The absolute value, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:abs(...) end

---acos(x)
---The arc cosine, in radians, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:acos(...) end

---add(x, y)
---x + y, element by element, with broadcasting (trailing axes align; each equal or 1).
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number
---@return tensor of the broadcast shape, differentiable
---source: -
function tensor_methods:add(...) end

---t:add_(u, opts)
---Adds u in place. Parameters change only inside ml.no_grad, results on the tape never.
---@param u tensor of t's dtype, its shape broadcast to t's, or number
---opts.alpha number =1 multiplies u
---@return t
---source: -
function tensor_methods:add_(...) end

---all(x, axes, opts)
---1 when every value is not 0, else 0 over the given axes, or over all elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---@return tensor u8 of x's shape without the reduced axes, 0-d over all
---source: -
function tensor_methods:all(...) end

---t:allclose(u, opts)
---Whether |t - u| <= atol + rtol |u| everywhere, with broadcasting.
---@param u tensor of t's dtype, any shape
---opts.rtol number =1e-5 relative tolerance
---opts.atol number =1e-8 absolute tolerance
---opts.equal_nan boolean =false NaN is close to NaN
---@return boolean
---source: -
function tensor_methods:allclose(...) end

---any(x, axes, opts)
---1 when some value is not 0, else 0 over the given axes, or over all elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---@return tensor u8 of x's shape without the reduced axes, 0-d over all
---source: -
function tensor_methods:any(...) end

---argmax(x, axis, opts)
---The position of the largest value along axis, or in row-major order over all; the first of
---equals, NaN counts as largest.
---@param x tensor of any shape
---@param axis integer =nil from 1
---opts.keepdims boolean =false
---@return tensor index of x's shape without axis; 0-d over all
---source: -
function tensor_methods:argmax(...) end

---argmin(x, axis, opts)
---The position of the least value along axis, or in row-major order over all; the first of equals,
---NaN counts as least.
---@param x tensor of any shape
---@param axis integer =nil from 1
---opts.keepdims boolean =false
---@return tensor index of x's shape without axis; 0-d over all
---source: -
function tensor_methods:argmin(...) end

---argsort(x, axis, opts)
---The positions that sort x along an axis; equal values keep their order, NaN counts as the
---largest.
---@param x tensor of any shape
---@param axis integer =-1 from 1, negative from the end
---opts.descending boolean =false
---@return tensor index of x's shape
---source: -
function tensor_methods:argsort(...) end

---asin(x)
---The arc sine, in radians, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:asin(...) end

---atan(x)
---The arc tangent, in radians, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:atan(...) end

---atan2(x, y)
---The angle of the point (y, x) in radians, x first as in C, element by element, with broadcasting
---(trailing axes align; each equal or 1).
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number
---@return tensor of the broadcast shape, differentiable
---source: -
function tensor_methods:atan2(...) end

---y:backward(seed, opts)
---Adds the gradients of sum(seed * y) to the parameters that y depends on. Frees what the tape
---saved as it passes, so that a
---second call raises unless the first retained. A saved tensor that was changed in place since
---raises. Answers Ctrl-C.
---@param seed tensor =nil like y; absent: y has one element and the seed is 1
---opts.retain boolean =false keep what is saved for another backward
---source: -
function tensor_methods:backward(...) end

---broadcast_to(x, sizes) broadcast_to(x, size, ...)
---Repeats axes of size 1, and leading axes, without copying.
---@param x tensor of any shape
---@param sizes table of integers
---@return tensor of the shape asked for, differentiable; it cannot be changed in place
---source: -
function tensor_methods:broadcast_to(...) end

---ceil(x)
---The least whole number not below x, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:ceil(...) end

---clamp(x, min, max) clamp(x, opts)
---x with values below min raised and above max lowered to it; NaN stays.
---@param x tensor of any shape
---@param min number =nil least value that stays
---@param max number =nil largest value that stays
---@return tensor like x, differentiable
---source: -
function tensor_methods:clamp(...) end

---clone(x)
---A copy with storage of its own.
---@param x tensor of any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:clone(...) end

---concat(list, axis)
---Joins tensors along an axis; the other sizes agree.
---@param list table of tensors of one dtype
---@param axis integer =1 from 1, negative from the end
---@return tensor of their shape, the sizes along axis added up, differentiable
---source: -
function tensor_methods:concat(...) end

---contiguous(x)
---x when its elements lie in row-major order without gaps, else a copy that does.
---@param x tensor of any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:contiguous(...) end

---t:copy_(values)
---Sets the values of t, which keeps its storage. Parameters change only inside ml.no_grad.
---@param values tensor of t's dtype, its shape broadcast to t's; nested table; or number
---@return t
---source: -
function tensor_methods:copy_(...) end

---cos(x)
---The cosine, x in radians, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:cos(...) end

---cosh(x)
---The hyperbolic cosine, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:cosh(...) end

---cumsum(x, axis)
---Running sums along axis.
---@param x tensor of any shape
---@param axis integer (=1 at rank 1)
---@return tensor like x, differentiable
---source: -
function tensor_methods:cumsum(...) end

---t:detach()
---t without its tape: the same storage, a constant for gradients.
---@return tensor like t
---source: -
function tensor_methods:detach(...) end

---diagonal(x)
---The main diagonal.
---@param x tensor [n,n]
---@return tensor [n], differentiable
---source: -
function tensor_methods:diagonal(...) end

---div(x, y)
---x / y, element by element, with broadcasting (trailing axes align; each equal or 1).
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number
---@return tensor of the broadcast shape, differentiable
---source: -
function tensor_methods:div(...) end

---t:div_(u, opts)
---Divides by u in place. Parameters change only inside ml.no_grad, results on the tape never.
---@param u tensor of t's dtype, its shape broadcast to t's, or number
---@return t
---source: -
function tensor_methods:div_(...) end

---t:dtype()
---The element type: "f64", "f32", "index" (positions, from 1) or "u8".
---@return string
---source: -
function tensor_methods:dtype(...) end

---eq(x, y)
---Where x equals y: 1, else 0; with broadcasting. NaN compares as in C.
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number (from 1 beside an index tensor)
---@return tensor u8 of the broadcast shape
---source: -
function tensor_methods:eq(...) end

---t:equal(u)
---Whether t and u have the same dtype, shape and values; NaN equals NaN.
---@param u tensor of any shape
---@return boolean
---source: -
function tensor_methods:equal(...) end

---erf(x)
---The error function 2/sqrt(pi) int_0^x exp(-t^2) dt, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:erf(...) end

---erfc(x)
---1 - erf(x), exact for large x, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:erfc(...) end

---exp(x)
---e^x, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:exp(...) end

---expm1(x)
---e^x - 1, exact near 0, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:expm1(...) end

---t:fill_(value)
---Sets every element.
---@param value number (from 1 for dtype index)
---@return t
---source: -
function tensor_methods:fill_(...) end

---flatten(x, first, last)
---Joins the axes first..last into one.
---@param x tensor of any shape
---@param first integer =1 axis, from 1
---@param last integer =-1 axis, negative from the end
---@return tensor of x's shape with those axes as one, differentiable
---source: -
function tensor_methods:flatten(...) end

---floor(x)
---The largest whole number not above x, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:floor(...) end

---t:format(opts)
---The long form of tostring(t).
---opts.digits integer =6 significant digits, 1..17
---opts.edge integer =16 entries shown at either end of an axis
---@return string
---source: -
function tensor_methods:format(...) end

---gather(x, ids, axis)
---out[i][j] = x[ids[i][j]][j] for axis 1, and so on: ids takes x's place along axis.
---@param x tensor of any shape
---@param ids tensor index of x's rank, its shape apart from axis (or nested table of positions)
---@param axis integer from 1, negative from the end
---@return tensor of the shape of ids, differentiable
---source: PyTorch's gather
function tensor_methods:gather(...) end

---ge(x, y)
---Where x >= y: 1, else 0; with broadcasting. NaN compares as in C.
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number (from 1 beside an index tensor)
---@return tensor u8 of the broadcast shape
---source: -
function tensor_methods:ge(...) end

---gelu_erf(x)
---GELU, x/2 (1 + erf(x/sqrt(2))), element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:gelu_erf(...) end

---gelu_tanh(x)
---GELU in its tanh form, x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:gelu_tanh(...) end

---w:grad()
---The gradient collected by a parameter, or nil before the first backward. It shares storage with
---the parameter's own.
---@return tensor like w, or nil
---source: -
function tensor_methods:grad(...) end

---gt(x, y)
---Where x > y: 1, else 0; with broadcasting. NaN compares as in C.
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number (from 1 beside an index tensor)
---@return tensor u8 of the broadcast shape
---source: -
function tensor_methods:gt(...) end

---index_select(x, ids, axis)
---The entries ids of an axis; the axis is replaced by the axes of ids.
---@param x tensor of any shape
---@param ids tensor index of any shape, or table of positions
---@param axis integer =1 from 1, negative from the end
---@return tensor of x's shape with the axes of ids in place of axis, differentiable
---source: NumPy's take
function tensor_methods:index_select(...) end

---t:is_contiguous()
---Whether the elements lie in memory in row-major order without gaps.
---@return boolean
---source: -
function tensor_methods:is_contiguous(...) end

---t:is_param()
---Whether t is a parameter (made by ml.param).
---@return boolean
---source: -
function tensor_methods:is_param(...) end

---t:is_released()
---Whether t was released, by t:release() or by its scope.
---@return boolean
---source: -
function tensor_methods:is_released(...) end

---isfinite(x)
---1 where x is neither infinite nor NaN, else 0.
---@param x tensor, any shape
---@return tensor u8 of x's shape
---source: -
function tensor_methods:isfinite(...) end

---isinf(x)
---1 where x is infinite, else 0.
---@param x tensor, any shape
---@return tensor u8 of x's shape
---source: -
function tensor_methods:isinf(...) end

---isnan(x)
---1 where x is NaN, else 0.
---@param x tensor, any shape
---@return tensor u8 of x's shape
---source: -
function tensor_methods:isnan(...) end

---t:item()
---The value of a tensor of one element as a Lua number (an integer for index and u8).
---@return number
---Raises when t has more or fewer elements.
---source: -
function tensor_methods:item(...) end

---le(x, y)
---Where x <= y: 1, else 0; with broadcasting. NaN compares as in C.
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number (from 1 beside an index tensor)
---@return tensor u8 of the broadcast shape
---source: -
function tensor_methods:le(...) end

---log(x)
---The natural logarithm, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:log(...) end

---log1p(x)
---log(1 + x), exact near 0, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:log1p(...) end

---log2(x)
---The logarithm to base 2, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:log2(...) end

---log_softmax(x, axis)
---x - logsumexp(x) along axis.
---@param x tensor f32 or f64, any shape
---@param axis integer =-1 from 1, negative from the end
---@return tensor like x, differentiable
---source: -
function tensor_methods:log_softmax(...) end

---logical_and(x, y)
---Where both are not 0: 1, else 0; with broadcasting.
---@param x tensor u8 of any shape
---@param y tensor u8 of any shape
---@return tensor u8 of the broadcast shape
---source: -
function tensor_methods:logical_and(...) end

---logical_not(x)
---1 where x (u8) is 0, else 0.
---@param x tensor, any shape
---@return tensor u8 of x's shape
---source: -
function tensor_methods:logical_not(...) end

---logical_or(x, y)
---Where either is not 0: 1, else 0; with broadcasting.
---@param x tensor u8 of any shape
---@param y tensor u8 of any shape
---@return tensor u8 of the broadcast shape
---source: -
function tensor_methods:logical_or(...) end

---logical_xor(x, y)
---Where one of both is not 0: 1, else 0; with broadcasting.
---@param x tensor u8 of any shape
---@param y tensor u8 of any shape
---@return tensor u8 of the broadcast shape
---source: -
function tensor_methods:logical_xor(...) end

---logsumexp(x, axes, opts)
---log(sum(exp(x))), without overflow over the given axes, or over all elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---@return tensor of x's shape without the reduced axes, 0-d over all, differentiable
---source: -
function tensor_methods:logsumexp(...) end

---lt(x, y)
---Where x < y: 1, else 0; with broadcasting. NaN compares as in C.
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number (from 1 beside an index tensor)
---@return tensor u8 of the broadcast shape
---source: -
function tensor_methods:lt(...) end

---matmul(a, b)
---The matrix product of the last two axes; leading axes broadcast, vectors are rows on the left and
---columns on the right.
---@param a tensor [...,m,k] or [k], f32 or f64
---@param b tensor [...,k,n] or [k], the same dtype
---@return tensor [...,m,n], differentiable
---source: -
function tensor_methods:matmul(...) end

---max(x, axes, opts)
---The largest value, NaN when there is one; equals share the gradient; over the given axes, or over
---all elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---@return tensor of x's shape without the reduced axes, 0-d over all, differentiable
---source: -
function tensor_methods:max(...) end

---maximum(x, y)
---The larger of x and y, NaN when either is, element by element, with broadcasting (trailing axes
---align; each equal or 1).
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number
---@return tensor of the broadcast shape, differentiable
---source: -
function tensor_methods:maximum(...) end

---mean(x, axes, opts)
---The mean (of u8: a share, in f64) over the given axes, or over all elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---@return tensor of x's shape without the reduced axes, 0-d over all, differentiable
---source: -
function tensor_methods:mean(...) end

---min(x, axes, opts)
---The least value, NaN when there is one; equals share the gradient; over the given axes, or over
---all elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---@return tensor of x's shape without the reduced axes, 0-d over all, differentiable
---source: -
function tensor_methods:min(...) end

---minimum(x, y)
---The smaller of x and y, NaN when either is, element by element, with broadcasting (trailing axes
---align; each equal or 1).
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number
---@return tensor of the broadcast shape, differentiable
---source: -
function tensor_methods:minimum(...) end

---mul(x, y)
---x * y, element by element, with broadcasting (trailing axes align; each equal or 1).
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number
---@return tensor of the broadcast shape, differentiable
---source: -
function tensor_methods:mul(...) end

---t:mul_(u, opts)
---Multiplies by u in place. Parameters change only inside ml.no_grad, results on the tape never.
---@param u tensor of t's dtype, its shape broadcast to t's, or number
---@return t
---source: -
function tensor_methods:mul_(...) end

---narrow(x, axis, range)
---Positions first..last of one axis. Shares storage.
---@param x tensor of any shape
---@param axis integer from 1, negative from the end
---@param range table {first, last}, both included
---@return tensor of x's shape with last - first + 1 entries along axis, differentiable
---source: -
function tensor_methods:narrow(...) end

---ne(x, y)
---Where x differs from y: 1, else 0; with broadcasting. NaN compares as in C.
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number (from 1 beside an index tensor)
---@return tensor u8 of the broadcast shape
---source: -
function tensor_methods:ne(...) end

---neg(x)
----x.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:neg(...) end

---norm(x, axes, opts)
---The Euclidean norm sqrt(sum(x^2)), of gradient 0 where it is 0, over the given axes, or over all
---elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---@return tensor of x's shape without the reduced axes, 0-d over all, differentiable
---source: -
function tensor_methods:norm(...) end

---t:numel()
---The number of elements.
---@return integer
---source: -
function tensor_methods:numel(...) end

---t:on_tape()
---Whether t is a parameter or depends on one by recorded operations.
---@return boolean
---source: -
function tensor_methods:on_tape(...) end

---one_hot(ids, classes, opts)
---1 at position ids of a new last axis, else 0.
---@param ids tensor index of any shape, or table of positions
---@param classes integer size of the new axis, >= 1
---opts.dtype string ="f64" f64, f32 or u8
---@return tensor [...,classes]
---source: -
function tensor_methods:one_hot(...) end

---permute(x, axes) permute(x, axis, ...)
---Reorders the axes: axis k of the result is axis axes[k] of x. Shares storage.
---@param x tensor of any shape
---@param axes table of integers, each axis once
---@return tensor of x's shape in the new order, differentiable
---source: -
function tensor_methods:permute(...) end

---pow(x, y)
---x to the power y, element by element, with broadcasting (trailing axes align; each equal or 1).
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number
---@return tensor of the broadcast shape, differentiable
---source: -
function tensor_methods:pow(...) end

---prod(x, axes, opts)
---The product over the given axes, or over all elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---@return tensor of x's shape without the reduced axes, 0-d over all, differentiable
---source: -
function tensor_methods:prod(...) end

---t:rank()
---The number of axes.
---@return integer
---source: -
function tensor_methods:rank(...) end

---reciprocal(x)
---1 / x, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:reciprocal(...) end

---t:release()
---Gives the memory back now, when no other tensor shares it. Any later use of t raises. May be
---called twice.
---source: -
function tensor_methods:release(...) end

---relu(x)
---max(x, 0), element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:relu(...) end

---relu2(x)
---max(x, 0)^2, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:relu2(...) end

---reshape(x, sizes) reshape(x, size, ...)
---The same values in row-major order under other sizes; shares storage when the layout allows it.
---@param x tensor of any shape
---@param sizes table of integers, or integers; one may be -1
---@return tensor of the shape asked for, differentiable
---source: -
function tensor_methods:reshape(...) end

---round(x)
---The nearest whole number, ties to even, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:round(...) end

---rsqrt(x)
---1 / sqrt(x), element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:rsqrt(...) end

---scatter(x, ids, values, axis)
---A copy of x with values written at ids along axis; later writes win.
---@param x tensor of any shape
---@param ids tensor index of x's rank, its shape apart from axis, or nested table
---@param values tensor like ids, or number
---@param axis integer =1 from 1, negative from the end
---@return tensor like x, differentiable
---source: PyTorch's scatter
function tensor_methods:scatter(...) end

---scatter_add(x, ids, values, axis)
---A copy of x with values added at ids along axis, in index order.
---@param x tensor of any shape
---@param ids tensor index of x's rank, its shape apart from axis, or nested table
---@param values tensor like ids, or number
---@param axis integer =1 from 1, negative from the end
---@return tensor like x, differentiable
---source: PyTorch's scatter_add
function tensor_methods:scatter_add(...) end

---w:set_grad(g)
---Stores a copy of g as the gradient of a parameter; nil drops it.
---@param g tensor like w, or nil
---@return w
---source: -
function tensor_methods:set_grad(...) end

---t:shape()
---The sizes of t, a fresh table; empty for a 0-d tensor.
---@return table of integers
---source: -
function tensor_methods:shape(...) end

---t:show(opts)
---Prints t in the long form.
---opts.digits integer =6 significant digits, 1..17
---opts.edge integer =16 entries shown at either end of an axis
---source: -
function tensor_methods:show(...) end

---sigmoid(x)
---1 / (1 + e^-x), element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:sigmoid(...) end

---sign(x)
---The sign: -1, 0 or 1, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:sign(...) end

---silu(x)
---x sigmoid(x), element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:silu(...) end

---sin(x)
---The sine, x in radians, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:sin(...) end

---sinh(x)
---The hyperbolic sine, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:sinh(...) end

---t:size(axis)
---One size of t.
---@param axis integer from 1, negative from the end
---@return integer
---source: -
function tensor_methods:size(...) end

---softmax(x, axis)
---exp(x) / sum(exp(x)) along axis, without overflow.
---@param x tensor f32 or f64 of any shape
---@param axis integer =-1 from 1, negative from the end
---@return tensor like x, differentiable
---source: -
function tensor_methods:softmax(...) end

---softplus(x)
---log(1 + e^x), element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:softplus(...) end

---sort(x, axis, opts)
---Sorts along an axis; equal values keep their order, NaN counts as the largest (so descending has
---it first).
---@param x tensor of any shape
---@param axis integer =-1 from 1, negative from the end
---opts.descending boolean =false
---@return tensor like x, sorted, differentiable
---@return tensor index of x's shape: where each came from
---source: -
function tensor_methods:sort(...) end

---split(x, parts, axis)
---Cuts an axis into parts, which share storage.
---@param x tensor of any shape
---@param parts integer (that many equal parts; must divide the size) or table of sizes
---@param axis integer =1 from 1, negative from the end
---@return table of tensors of x's shape apart from axis, differentiable
---source: -
function tensor_methods:split(...) end

---sqrt(x)
---The square root; NaN below 0, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:sqrt(...) end

---square(x)
---x^2, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:square(...) end

---squeeze(x, axis)
---Drops an axis of size 1, or all of them. Shares storage.
---@param x tensor of any shape
---@param axis integer =nil from 1, negative from the end; absent: every one of size 1
---@return tensor of x's shape without what was dropped, differentiable
---source: -
function tensor_methods:squeeze(...) end

---stack(list, axis)
---Joins tensors of one shape along a new axis.
---@param list table of tensors of one dtype and shape
---@param axis integer =1 number of the new axis
---@return tensor of their shape with the new axis, differentiable
---source: -
function tensor_methods:stack(...) end

---std(x, axes, opts)
---The standard deviation, sqrt(var), of gradient 0 where it is 0, over the given axes, or over all
---elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---opts.ddof integer =0 1 divides by n - 1
---@return tensor of x's shape without the reduced axes, 0-d over all, differentiable
---source: -
function tensor_methods:std(...) end

---sub(x, y)
---x - y, element by element, with broadcasting (trailing axes align; each equal or 1).
---@param x tensor of any shape, or number
---@param y tensor of the same dtype, its shape broadcast, or number
---@return tensor of the broadcast shape, differentiable
---source: -
function tensor_methods:sub(...) end

---t:sub_(u, opts)
---Subtracts u in place. Parameters change only inside ml.no_grad, results on the tape never.
---@param u tensor of t's dtype, its shape broadcast to t's, or number
---opts.alpha number =1 multiplies u
---@return t
---source: -
function tensor_methods:sub_(...) end

---sum(x, axes, opts)
---The sum (of u8: a count, in f64) over the given axes, or over all elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---@return tensor of x's shape without the reduced axes, 0-d over all, differentiable
---source: -
function tensor_methods:sum(...) end

---tan(x)
---The tangent, x in radians, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:tan(...) end

---tanh(x)
---The hyperbolic tangent, element by element.
---@param x tensor f32 or f64, any shape
---@return tensor like x, differentiable
---source: -
function tensor_methods:tanh(...) end

---to(x, dtype)
---x in another dtype; x itself, sharing storage, when it has it already.
---@param x tensor of any shape
---@param dtype string "f64", "f32", "index" (whole numbers >= 1) or "u8" (0..255, fractions cut)
---@return tensor of x's shape, differentiable between f64 and f32
---Raises on values that do not fit.
---source: -
function tensor_methods:to(...) end

---topk(x, k, axis)
---The k largest values along an axis, largest first; of equals the first; NaN counts as the
---largest.
---@param x tensor of any shape
---@param k integer 1..size
---@param axis integer =-1 from 1, negative from the end
---@return tensor of x's shape with k entries along axis, differentiable
---@return tensor index of the same shape: where each stands
---source: -
function tensor_methods:topk(...) end

---t:totable()
---The values as nested tables of numbers; of a 0-d tensor its number.
---@return table or number
---source: -
function tensor_methods:totable(...) end

---transpose(x, a, b)
---Exchanges two axes, the last two by default. Shares storage.
---@param x tensor of any shape
---@param a integer =-2 axis, from 1, negative from the end
---@param b integer =-1 the axis it changes places with
---@return tensor of x's shape with both sizes exchanged, differentiable
---source: -
function tensor_methods:transpose(...) end

---tril(x, opts)
---The lower triangle of the last two axes, zeros above.
---@param x tensor [..., rows, columns]
---opts.diagonal integer =0 the last diagonal kept, 1 above the main one
---@return tensor like x, differentiable
---source: -
function tensor_methods:tril(...) end

---triu(x, opts)
---The upper triangle of the last two axes, zeros below.
---@param x tensor [..., rows, columns]
---opts.diagonal integer =0 the first diagonal kept, 1 above the main one
---@return tensor like x, differentiable
---source: -
function tensor_methods:triu(...) end

---unsqueeze(x, axis)
---Inserts an axis of size 1 that then has this number. Shares storage.
---@param x tensor of any shape
---@param axis integer 1..rank+1, negative from the end
---@return tensor of x's shape with the new axis, differentiable
---source: -
function tensor_methods:unsqueeze(...) end

---var(x, axes, opts)
---The variance, sum((x - mean)^2) / (n - ddof) over the given axes, or over all elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---opts.ddof integer =0 1 gives the unbiased estimate
---@return tensor of x's shape without the reduced axes, 0-d over all, differentiable
---source: -
function tensor_methods:var(...) end

---where(condition, a, b)
---a where condition is not 0, else b; all three broadcast.
---@param condition tensor u8 of any shape
---@param a tensor of any shape, or number
---@param b tensor of a's dtype and any shape, or number
---@return tensor of the broadcast shape, differentiable in a and b
---source: -
function tensor_methods:where(...) end

---t:zero_()
---Sets every element to 0 (position 1 for dtype index).
---@return t
---source: -
function tensor_methods:zero_(...) end

---w:zero_grad()
---Fills the gradient of a parameter with zeros; does nothing where there is none.
---@return w
---source: -
function tensor_methods:zero_grad(...) end
ml.text = {}

---ml.text.bytes(s)
---Every byte of a string as an id, 1 to 256.
---@param s string
---@return tensor index [#s]
---source: -
ml.text.bytes = function(...) end

---ml.text.characters(s)
---The distinct UTF-8 characters of a string (a stray byte is a character), sorted bytewise.
---@param s string
---@return table list of strings
---source: -
ml.text.characters = function(...) end

---ml.text.expand(s, name)
---Bytes without their compression: gzip, zlib and xz are told by their first bytes, others come as
---they are.
---@param s string
---@param name string =the data what errors call it
---@return string; raises on damaged data
---source: zlib; liblzma
ml.text.expand = function(...) end

---ml.text.from_bytes(ids)
---The string of those bytes.
---@param ids tensor index [n], 1 to 256, or a table
---@return string
---source: -
ml.text.from_bytes = function(...) end

---ml.text.lookup(s, ids)
---The id of every UTF-8 character.
---@param s string
---@param ids table character -> id from 1; ids[""] is the id of unknown characters, which raise
---without it
---@return tensor index [characters]
---source: -
ml.text.lookup = function(...) end

---ml.text.nearest(word, names)
---The name that a word was probably meant to be: nearest by changes, insertions, deletions and
---swaps of neighbours, whatever the case.
---@param word string
---@param names table list of strings
---@return string or nil when nothing is near
---source: Damerau 1964
ml.text.nearest = function(...) end

---ml.text.windows(ids, starts, n)
---Pieces of a long sequence as rows.
---@param ids tensor index [N]
---@param starts tensor index [rows], positions from 1
---@param n integer length of a row
---@return tensor index [rows, n]
---source: -
ml.text.windows = function(...) end
ml.theory = {}

---ml.theory.eigenspace{ graph = { leaf =, branching = }, space =, gamma = }
---The eigenspaces of a hierarchical network's NNGP kernel on a product of spheres or of cubes.
---opts.graph table { leaf = dimensions of each input sphere, >= 3, or signs of each cube,
--->= 1; branching = fan-ins from the input to the root }, e.g. { leaf = 3, branching = { 27, 1 } }
---of a multilayer network with two hidden layers, { 1, 3, 3, 3, 1 } of a hierarchical one
---opts.space string ="spheres" or "hypercube"
---opts.gamma number =0.5 of the activation's dual exp(gamma (t - 1)), in (0, 2]: sqrt(2)
---sin(sqrt(2) x + pi/4) behind weights of standard deviation sqrt(gamma / 2)
---@return eigenspace with leaves, dim; methods index, eigenvalue, types, predict
---source: Xiao 2022 (arXiv 2112.05611)
ml.theory.eigenspace = function(...) end
ml.theory.krr = {}

---ml.theory.krr.asymptotic{ spectrum =, target =, noise =, ridge =, samples = }
---The limit of well separated levels: near m = d^r/r! one level is being learned, those above it
---act as noise and ridge, and the whole curve is the sum over levels.
---opts.spectrum table as for predict
---opts.target table list of powers, one a level
---opts.noise number =0 variance of the labels' noise, >= 0
---opts.ridge number =0 in the unit of the kernel matrix, >= 0
---opts.samples number or list of them, > 0
---@return table { test, bias, variance }: numbers for a number of samples, lists for a list
---source: Xiao et al. 2022 (arXiv 2205.14846), Equation 20
ml.theory.krr.asymptotic = function(...) end

---ml.theory.krr.extrema{ spectrum =, target =, noise =, ridge =, low =, high = }
---Where the predicted test error has its peaks and troughs.
---opts.spectrum table as for predict
---opts.target table as for predict
---opts.noise number =0 variance of the labels' noise, >= 0
---opts.ridge number =0 in the unit of the kernel matrix, >= 0
---opts.low number =2 least number of samples
---opts.high number =1e4 largest number of samples
---@return table peaks, list of { samples, test } of whole numbers, ascending
---@return table troughs, the same
---source: Xiao et al. 2022 (arXiv 2205.14846), Section 4
ml.theory.krr.extrema = function(...) end

---ml.theory.krr.gegenbauer{ kernel =, dim =, degrees =, nodes = }
---The spectrum of a kernel h(<x, x'>) for points that are uniform on the unit sphere.
---opts.kernel function h(t) of a tensor [n] of f64 in [-1, 1] -> tensor [n]
---opts.dim integer dimensions, >= 3
---opts.degrees integer =12 the highest degree, >= 0
---opts.nodes integer =4000 of the quadrature in the angle
---@return table list over degrees 0, 1, ... of { value (eigenvalue), multiplicity, energy (their
---product), degree }; with total = h(1) and rest = what the energies leave of it
---source: Mueller 1966; Xiao et al. 2022 (arXiv 2205.14846), Section 2
ml.theory.krr.gegenbauer = function(...) end

---ml.theory.krr.multiplicity(dim, k)
---The number of independent spherical harmonics of degree k on the unit sphere of dim dimensions.
---@param dim integer dimensions, >= 3
---@param k integer degree, >= 0
---@return number N(dim, k)
---source: Mueller 1966, Spherical Harmonics
ml.theory.krr.multiplicity = function(...) end

---ml.theory.krr.polynomial(t, dim, k)
---The Gegenbauer polynomial of degree k of a dimension, 1 at t = 1.
---@param t tensor [...] f64, in [-1, 1]
---@param dim integer dimensions of the sphere, >= 3
---@param k integer degree, >= 0
---@return tensor [...] like t
---source: Mueller 1966, Spherical Harmonics
ml.theory.krr.polynomial = function(...) end

---ml.theory.krr.predict{ spectrum =, target =, noise =, ridge =, samples = }
---The expected error of kernel ridge regression on a clean target, at any number of samples: a
---self-consistent ridge kappa with sum of L_k + ridge/kappa = samples, where L_k = lambda_k /
---(lambda_k + kappa). What a truncated spectrum leaves of the kernel's trace belongs to the ridge.
---opts.spectrum table list of { value, multiplicity } for each level: eigenvalues of the
---kernel's integral operator
---opts.target table list of powers, one a level, summed over its modes; missing ones are 0
---opts.noise number =0 variance of the labels' noise, >= 0
---opts.ridge number =0 in the unit of the kernel matrix, >= 0
---opts.samples number or list of them, > 0
---@return table { test (mean squared error against the clean target), bias (of the mean
---predictor), variance (their difference), kappa, learnability (list over levels) }: numbers for a
---number of samples, lists for a list
---source: Bordelon, Canatar & Pehlevan 2020; Canatar et al. 2021; Simon et al. 2023
ml.theory.krr.predict = function(...) end

---ml.theory.krr.profile(kernel, { of })
---A kernel of ml.kernel as a function of the cosine of two points on the sphere of radius sqrt(d).
---@param kernel kernel of ml.kernel.serial, for vectors
---opts.of string ="ntk" or "nngp"
---@return function h(t) of a tensor [n] of f64 -> tensor [n]
---source: Xiao et al. 2022 (arXiv 2205.14846), Section 2
ml.theory.krr.profile = function(...) end

---ml.theory.krr.scaling(alpha, gamma)
---Bias factor B and noise gain V of the level that is being learned: over the law of Marchenko
---and Pastur with ratio alpha, B is the mean of 1/(1 + gamma t)^2 and V that of gamma t/(1 + gamma
---t)^2 times alpha gamma.
---@param alpha number modes over samples, > 0
---@param gamma number signal over the effective ridge, over alpha, >= 0
---@return number B
---@return number V
---source: Xiao et al. 2022 (arXiv 2205.14846), Theorem 1
ml.theory.krr.scaling = function(...) end

---ml.theory.krr.simulate{ kernel =, dim =, target =, noise =, ridge =, samples =, draws =, test =,
---  patches =, seed = }
---Kernel ridge regression on random points of the sphere and an isotropic random target: the
---training sets of all sizes are the first points of one, and every draw has its own.
---opts.kernel function h(t) of a tensor of f64 in [-1, 1] -> tensor like it
---opts.dim integer dimensions of the sphere, >= 3
---opts.target table list of powers of degrees 1, 2, ...
---opts.noise number =0 variance of the labels' noise, >= 0
---opts.ridge number =0 in the unit of the kernel matrix, >= 0
---opts.samples table list of numbers of samples, ascending
---opts.draws integer =10 training sets
---opts.test integer =2000 points to test on
---opts.patches integer =1 p points on spheres of their own make one input; the kernel is
---the mean of h over them, the target the sum over them over sqrt(p)
---opts.seed integer =1 of every draw
---@return table { test, stderr (over draws), bias, variance (measured over draws), learned (for
---each degree the part of the target that the prediction holds), all lists over samples; jitter }
---source: Xiao et al. 2022 (arXiv 2205.14846), Section 5
ml.theory.krr.simulate = function(...) end

---threads(n)
---Sets the number of threads of the pool; results never depend on it.
---@param n integer =nil 1..256; absent: only asks
---@return integer the number in force
---source: -
ml.threads = function(...) end

---timeit(f)
---How long a call takes: rounds of as many calls as fill 10 ms, nine of them or as many as fit
---into two seconds, at least three. What a call makes is given back after it.
---@param f function called without arguments
---@return table { median, low, high (quartiles), in seconds a call; rounds, calls }; prints itself
---source: -
function timeit(...) end

---to(x, dtype)
---x in another dtype; x itself, sharing storage, when it has it already.
---@param x tensor of any shape
---@param dtype string "f64", "f32", "index" (whole numbers >= 1) or "u8" (0..255, fractions cut)
---@return tensor of x's shape, differentiable between f64 and f32
---Raises on values that do not fit.
---source: -
ml.to = function(...) end
ml.tokenizer = {}

---ml.tokenizer.bpe(text, n)
---Byte-pair encoding learnt on a text: its UTF-8 characters, and the pairs of tokens that stand
---together most often, joined one after the other within words (a word goes with the space or
---underscore before it). encode raises on characters that the text does not have.
---@param text string
---@param n integer number of ids, at least that of the characters; fewer when no pair stands twice
---@return tokenizer
---source: Sennrich et al. 2016
ml.tokenizer.bpe = function(...) end

---ml.tokenizer.bytes()
---Every byte is a token: id = byte + 1.
---@return tokenizer of 256 ids
---source: -
ml.tokenizer.bytes = function(...) end

---ml.tokenizer.chars(text)
---Every UTF-8 character of the text is a token, in bytewise order; encode raises on others.
---@param text string
---@return tokenizer
---source: -
ml.tokenizer.chars = function(...) end

---ml.tokenizer.load(path)
---A tokenizer that tok:save(path) wrote.
---@param path string
---@return tokenizer, or nil and a message when there is no such file
---source: -
ml.tokenizer.load = function(...) end

---ml.tokenizer.words(list)
---Words between spaces; encode raises on one that is not in the list, decode joins with a space.
---@param list list of different strings without spaces
---@return tokenizer
---source: -
ml.tokenizer.words = function(...) end

---topk(x, k, axis)
---The k largest values along an axis, largest first; of equals the first; NaN counts as the
---largest.
---@param x tensor of any shape
---@param k integer 1..size
---@param axis integer =-1 from 1, negative from the end
---@return tensor of x's shape with k entries along axis, differentiable
---@return tensor index of the same shape: where each stands
---source: -
ml.topk = function(...) end

---ml.train{ model =, data =, opt =, steps =, loss =, schedule =, eval =, eval_every =, clip =,
---  dir =, checkpoint = { every = }, accumulate =, on_nan =, log =, config =, rngs = }
---Trains a model. With dir the run is kept there and a second call continues an unfinished run of
---the same configuration bit for bit; a finished one is loaded and returned; another configuration
---raises. Ctrl-C saves a checkpoint first. On a terminal a line shows how far it is.
---@param model module or decoder: anything with named_parameters()
---@param data table with batch(self, i), a pure function of i = 1, 2, ...
---@param opt optimizer over the model's parameters
---@param steps integer updates in all
---@param loss function(model, batch) -> 0-d tensor
---@param schedule function(t) -> multiplier of the rate at update t, from 1
---@param eval function(model, step) -> number or table of numbers; called without gradients at
---step 0, every eval_every steps and at the end
---@param clip number largest gradient norm
---@param accumulate integer =1 batches per update, their gradients averaged
---@param on_nan string ="stop" (state "diverged") or "skip" the update
---@param checkpoint.every integer =steps/10 updates between checkpoints
---@param log function(record) called with every metric record { step =, loss =, ... }
---@param config table further settings that make this run what it is (compared on resume)
---@param rngs table name -> rng that batch or loss draw from; kept in checkpoints (a module's own
---are kept anyway)
---@return table { state = "done"|"diverged", step =, history = records, skipped =, resumed_at =,
---reason = }
---source: -
ml.train = function(...) end

---ml.transformer{ vocab = 256, context = 256, depth = 4, width = 128, heads = 4, ... }
---A decoder-only transformer: pre-normalised blocks h += attention(norm(h)); h += mlp(norm(h)), a
---last norm and the head.
---opts.vocab integer =256 number of ids
---opts.context integer =256 longest input
---opts.depth integer =4 blocks
---opts.width integer =128 of the residual stream
---opts.heads integer =4 divides width
---opts.mlp_width integer =4*width hidden units
---opts.dtype string ="f32" f32|f64
---opts.seed integer =1 initial values: one stream per parameter, named after it
---opts.norm string ="layer" layer|rms
---opts.norm_eps number =1e-6 inside the root
---opts.bias boolean =false biases of the linear maps, shifts of the layer norms
---opts.activation string ="gelu_tanh"
---gelu_tanh|gelu_erf|relu|relu2|silu|softplus|tanh|sigmoid|sin|erf|identity
---opts.positions string ="rotary" rotary|learned|none
---opts.rotary string ="half" half: pairs (i, i + d_head/2)|interleaved: pairs (2i, 2i+1)
---opts.rotary_base number =1e4 of the geometric series of wavelengths, > 0
---opts.qk_norm boolean =false norm of each head's q and k, one gain each per layer
---opts.qk_norm_order string ="before_rotary" before_rotary|after_rotary
---opts.attention_scale string|number ="1/sqrt(d_head)" 1/sqrt(d_head)|1/d_head|a number
---opts.tied boolean =false the head is the transposed token embedding
---opts.init string ="paper" paper: embeddings normal of std 1/sqrt(width), matrices truncated
---normal of std 1/sqrt(fan_in)|normal: std 0.02, wo and w2 over sqrt(2 depth)|zeros_out: paper with
---wo and w2 zero
---opts.parameterization nil set by ml.parameterization
---@return ml.transformer
---source: Vaswani et al. 2017; Wortsman et al. 2023, section 2
ml.transformer = function(...) end
ml.transformer = {}

---ml.transformer.load(path)
---A decoder from a file that lm:save wrote.
---@param path string
---@return ml.transformer, or nil and a message when there is no such file
---source: -
ml.transformer.load = function(...) end

---@class ml.transformer
local transformer_methods = {}

---lm:config()
---What the model is made of.
---@return table every option of ml.transformer with its value
---source: -
function transformer_methods:config(...) end

---lm:generate(prompts, opts)
---Samples continuations; neither the batch nor the number of threads changes a sample.
---@param prompts list of id lists or index tensors, of 1..context ids each
---opts.n integer =1 samples per prompt; they share the prompt's cache
---opts.max_new integer =64 new tokens at most; a row holds context + 1 tokens at most and then ends
---unfinished
---opts.temperature number =1 > 0
---opts.top_k integer only the k most likely tokens
---opts.top_p number in (0, 1]: the fewest most likely tokens (of the k) that hold this share
---opts.greedy boolean =false the most likely token; nothing is drawn
---opts.cache string ="model" keys and values in the model's dtype, or "bf16": half the memory,
---relative error 2^-8; of models in f32
---opts.stop ids that end a row, a list or a set { [id] = true }; the stop id is returned last
---opts.rng ml.rng one key is drawn from it and folded with ("prompt", i); without it from a stream
---of the model's seed
---opts.keys list of generators or integers, one per prompt; row (i, j) draws from keys[i] folded
---with ("row", j)
---@return list over prompts of lists over samples of index tensors [n], n <= max_new: the new
---tokens
---@return table info: logprobs (of the sampled tokens under the model's own distribution,
---temperature 1, nothing cut off), finished, new_tokens, prompt_tokens, seconds, prefill_seconds,
---tokens_per_second, cache_bytes
---source: -
function transformer_methods:generate(...) end

---lm:hidden(tokens, { layers = { 0, 2, "final" } })
---Hidden states, differentiable: layer l is the output of block l, 0 the embedding, "final" after
---the last norm.
---@param tokens tensor index [B,T] or [T], or a table of ids
---opts.layers list of 0..depth and "final" =all
---opts.segments tensor index [B,T]: attention and positions restart
---opts.embeddings tensor [B,T,width] in place of tokens
---@return table layer -> tensor [B,T,width], keyed as asked
---source: -
function transformer_methods:hidden(...) end

---lm:logits(tokens, opts)
---Logits of every position, differentiable.
---@param tokens tensor index [B,T] or [T], or a table of ids
---opts.segments tensor index [B,T]: attention and positions restart
---opts.embeddings tensor [B,T,width] in place of tokens
---@return tensor [B,T,V] or [T,V]
---source: -
function transformer_methods:logits(...) end

---lm:logprob(sequences, { from = k })
---Log probability of each token given those before it, without gradients.
---@param sequences list of id lists or index tensors, of at most context + 1 ids each
---opts.from integer or list =2 first position scored; prompt length + 1 scores the answer
---@return list of tensors [n], one entry per scored position, in nats
---source: -
function transformer_methods:logprob(...) end

---lm:loss(tokens, opts)
---Mean next-token cross-entropy of a batch, differentiable.
---@param tokens tensor index [B,T+1] (or [T+1], or a table of ids), shifted inside; or { inputs =
---[B,T], targets = [B,T] }
---opts.z_loss number =0 weight of (log Z)^2, >= 0
---opts.mask tensor [B,T] of the model's dtype: weights of any sign, aligned with the targets; the
---loss is sum(mask (ce + z_loss logZ^2)) / count(mask ~= 0)
---opts.segments tensor index [B,T] on the inputs: attention and positions restart with each
---segment; tokens of a row with the same id are one segment, even where another stands between
---opts.embeddings tensor [B,T,width]: differentiable input in place of the embedding of ids
---opts.probes boolean =false adds the per-layer numbers to info
---@return tensor loss, 0-d
---@return table info: ce, mean_logz, mean_logz2, logit_mean, count; with probes lists over layers:
---max_logit, the largest attention logit z_ij = scale <q_i, k_j>, with its sign, and max_abs_logit,
---the largest |z_ij|, both over batch, heads and unmasked pairs (j <= i, same segment), with the
---scale, before softmax; q_rms and k_rms, root mean squares of queries and keys as they meet in z
---(after qk_norm and rotation, without the scale), so that a query's norm is about sqrt(d_head)
---q_rms; qk_cosine, the mean cosine of the same pairs; attn_entropy (nats), mean over batch, heads
---and queries; block_rms, of the output of each block
---source: Wortsman et al. 2023, sections 2 and 3
function transformer_methods:loss(...) end

---lm:multiplier(name, value)
---The constant by which the forward pass multiplies a parameter; kept by save.
---@param name string a parameter's name, or "head" also when it is tied (then it acts on the logits
---only)
---@param value number absent: only asks
---@return number
---source: -
function transformer_methods:multiplier(...) end

---lm:named_parameters()
---The parameters under their names; a tied head is the token embedding and has none.
---@return table name -> parameter: tokens, positions, blocks.1.attn.wq, ..., norm.gain, head
---source: -
function transformer_methods:named_parameters(...) end

---lm:parameters()
---The parameters, as optimizers take them.
---@return list of the parameters, in the order of the model
---source: -
function transformer_methods:parameters(...) end

---lm:save(path)
---Writes weights, multipliers and configuration to one safetensors file, whole or not at all.
---@param path string
---source: -
function transformer_methods:save(...) end

---lm:training(on)
---Sets whether the model is in training; the decoder has no dropout, so nothing depends on it.
---@param on boolean absent: only asks
---@return boolean whether it is in training
---source: -
function transformer_methods:training(...) end

---lm:zero_grad()
---Fills the gradients that exist with zeros.
---source: -
function transformer_methods:zero_grad(...) end

---transpose(x, a, b)
---Exchanges two axes, the last two by default. Shares storage.
---@param x tensor of any shape
---@param a integer =-2 axis, from 1, negative from the end
---@param b integer =-1 the axis it changes places with
---@return tensor of x's shape with both sizes exchanged, differentiable
---source: -
ml.transpose = function(...) end

---@class ml.trie
local trie_methods = {}

---trie:allowed(ids)
---The ids that may follow a beginning.
---@param ids list of ids, {} for the first
---@return table list, ascending; empty after an end, nil where no answer begins so
---source: -
function trie_methods:allowed(...) end

---tril(x, opts)
---The lower triangle of the last two axes, zeros above.
---@param x tensor [..., rows, columns]
---opts.diagonal integer =0 the last diagonal kept, 1 above the main one
---@return tensor like x, differentiable
---source: -
ml.tril = function(...) end

---trim_cache()
---Gives cached blocks back to the system.
---source: -
ml.trim_cache = function(...) end

---triu(x, opts)
---The upper triangle of the last two axes, zeros below.
---@param x tensor [..., rows, columns]
---opts.diagonal integer =0 the first diagonal kept, 1 above the main one
---@return tensor like x, differentiable
---source: -
ml.triu = function(...) end

---u8(values)
---A tensor of dtype u8: whole numbers 0..255 or booleans.
---@param values number, nested table of numbers, or tensor (converted, always a copy)
---@return tensor of the shape of the values
---source: -
ml.u8 = function(...) end

---unsqueeze(x, axis)
---Inserts an axis of size 1 that then has this number. Shares storage.
---@param x tensor of any shape
---@param axis integer 1..rank+1, negative from the end
---@return tensor of x's shape with the new axis, differentiable
---source: -
ml.unsqueeze = function(...) end

---value_and_grad(f)
---A function (params, ...) that runs f(params, ...) in a scope and returns its value, the gradients
---of the value with respect
---to params, and f's further results (off the tape). Nothing accumulates in parameters.
---@param f function (params, ...) -> tensor of one element, ...
---@return function (params, ...) -> value 0-d, gradients with the keys of params, ...; params is a
---tensor or a table of
---tensors (nested tables too), parameters or plain; entries that are no real tensors pass unchanged
---and have no gradient
---source: -
ml.value_and_grad = function(...) end

---var(x, axes, opts)
---The variance, sum((x - mean)^2) / (n - ddof) over the given axes, or over all elements.
---@param x tensor of any shape
---@param axes integer or table of axes =nil from 1, negative from the end; options may stand in the
---table
---opts.keepdims boolean =false keep reduced axes with size 1
---opts.ddof integer =0 1 gives the unbiased estimate
---@return tensor of x's shape without the reduced axes, 0-d over all, differentiable
---source: -
ml.var = function(...) end

---version()
---What runs here.
---@return table { moonlab, lua, blas, simd, cpu, cpu_features, threads, thread_model }
---source: -
ml.version = function(...) end

---where(condition, a, b)
---a where condition is not 0, else b; all three broadcast.
---@param condition tensor u8 of any shape
---@param a tensor of any shape, or number
---@param b tensor of a's dtype and any shape, or number
---@return tensor of the broadcast shape, differentiable in a and b
---source: -
ml.where = function(...) end

---who()
---Prints the globals that were made at the prompt, with shapes and bytes, the largest first.
---source: -
function who(...) end

---write_file(path, data)
---Writes a file that appears whole or not at all.
---@param path string
---@param data string
---source: -
ml.write_file = function(...) end

---zeros(shape, opts) zeros(rows, columns, opts)
---A tensor filled with 0 (position 1 for dtype index).
---@param shape integer or table of sizes, or two integers; options may stand in the table
---opts.dtype string ="f64" f64, f32, index or u8
---@return tensor of that shape
---source: -
ml.zeros = function(...) end

---zeros_like(t, opts)
---Zeros of t's shape and dtype.
---@param t tensor of any shape
---opts.dtype string =t's
---@return tensor of t's shape
---source: -
ml.zeros_like = function(...) end

return ml
