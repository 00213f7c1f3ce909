"""MetaRM's step in plain PyTorch over a transformers model and padded batches, float32: `plain_metarm.py JOB.json RESULT.json`."""

import time

import torch
import transformers as hf
from job import run_job
from texts import pad_right, read_rows, sequence_ids


def group_sequences(tokenizer, groups):
    return [[sequence_ids(tokenizer, group["prompt"], response) for response in group["responses"]] for group in groups]


def pair_sequences(tokenizer, pairs):
    return [[sequence_ids(tokenizer, pair["prompt"], pair[side]) for side in ("chosen", "rejected")] for pair in pairs]


class PlainMetaRM:
    def __init__(self, job):
        self.tokenizer = hf.AutoTokenizer.from_pretrained(job["reward_model"])
        self.model = hf.AutoModelForSequenceClassification.from_pretrained(job["reward_model"], dtype=torch.float32)
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=job["lr"], weight_decay=0.0)
        self.meta_lr = job["meta_lr"]

    def rewards(self, rows):
        """(rows, responses a row) as float32."""
        ids, mask = pad_right([sequence for row in rows for sequence in row], self.tokenizer.pad_token_id)
        return self.model(input_ids=ids, attention_mask=mask).logits[:, 0].view(len(rows), -1)

    def difference_loss(self, groups):
        rewards_PK = self.rewards(groups)
        count = rewards_PK.shape[1]
        first, second = torch.triu_indices(count, count, offset=1)
        return (2 / count**2 * torch.sigmoid((rewards_PK[:, first] - rewards_PK[:, second]).abs()).sum(dim=1)).mean()

    def pairwise_loss(self, pairs):
        chosen, rejected = self.rewards(pairs).unbind(dim=1)
        return -torch.nn.functional.logsigmoid(chosen - rejected).mean()

    def step(self, pairs, groups):
        difference = self.difference_loss(groups)
        direction = torch.autograd.grad(difference, self.parameters, allow_unused=True)
        direction = [torch.zeros_like(p) if g is None else g for p, g in zip(self.parameters, direction)]
        norm = torch.stack([g.norm() for g in direction]).norm()
        before = [parameter.detach().clone() for parameter in self.parameters]
        with torch.no_grad():
            torch._foreach_add_(self.parameters, direction, alpha=self.meta_lr / norm.item())
        self.optimizer.zero_grad()
        loss = self.pairwise_loss(pairs)
        loss.backward()
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, before)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        return {"loss": loss.item(), "j_before": difference.item()}


def main(job):
    torch.set_num_threads(job["threads"])
    trainer = PlainMetaRM(job)
    pairs, groups = read_rows(job["pairs"]), read_rows(job["groups"])
    batch, meta_batch = job["batch_size"], job["meta_batch_size"]
    steps = []
    for index in range(job["steps"]):
        begin = time.perf_counter()
        step_pairs = pair_sequences(trainer.tokenizer, pairs[index * batch : (index + 1) * batch])
        step_groups = group_sequences(trainer.tokenizer, groups[index * meta_batch : (index + 1) * meta_batch])
        figures = trainer.step(step_pairs, step_groups)
        steps.append(figures | {"seconds": time.perf_counter() - begin, "pairs": batch})
    return {"steps": steps}


if __name__ == "__main__":
    run_job(main)
