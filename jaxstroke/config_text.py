"""The sections `text` and `align` of a config: reports as a modality (paper 5); see `config.base` for all other keys."""

from ml_collections import ConfigDict


def text(config: ConfigDict):
    """Add the sections, every key with its default."""
    config.text = ConfigDict(
        {
            # Where reports come from: none | given (column `cohort.text`: the report, or a .txt file) | template (a lesion mask's
            # findings in fixed sections) | llm (the same by a language model). No generator sees an outcome or a clinical column.
            "source": "none",
            "mask": "",  # image of config.images with the lesion mask; template needs it, llm without it has key slices alone
            "atlas": "",  # NIfTI with numbered territories in the masks' space, copied into the workdir; "" = no territories
            "territories": "",  # their names: lines of number|abbreviation|name; "" = the atlas's own name with .txt
            "signals": (),  # images of config.images whose signal inside the mask is told
            "vocabulary": "",  # tokenizer.json or vocab.txt; "" = WordPiece fitted on each fold's training reports
            "vocabulary_size": 512,  # entries at most, of one that is fitted
            "length": 208,  # tokens a report, [CLS] and [SEP] included; longer ones are cut
            "positions": 512,  # that the encoder knows
            "control": "none",  # none | shuffled (each patient has another's report) | constant (all have one empty report)
            # the encoder, BERT (Devlin et al. 2019): of weights from a file their sizes
            "init_from": "",  # .safetensors or .bin of Hugging Face's BertModel; "" = random
            "precomputed": False,  # its features are computed once: it does not learn
            "width": 64,
            "depth": 2,
            "heads": 4,
            "intermediate": 128,  # units of a layer's perceptron
            "ordered": True,  # whether tokens know their place, by which a few hundred reports are learned by heart; weights from a file do
            "dropout": 0.1,
            "unread": 0.0,  # probability that a token is passed over in training, as if the report were without it
            "pool": "mean",  # words to one vector: attention (every word asks for its share) | mean
            "llm": {
                "url": "",  # base of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1
                "model": "",
                "key": "",  # environment variable with the key, "" = none
                "prompt": "",  # file with the instructions, "" = ours
                "image": "",  # image of config.images whose key slices are sent, "" = none
                "slices": 3,  # of them
                "temperature": 0.0,
                "seconds": 60.0,  # that an answer may take
                "attempts": 4,  # a report, before it is listed as not made
                "at_once": 4,  # requests
                "budget": 0,  # requests of one command at most, 0 = no limit
                "cache": "",  # folder of answers, "" = `report_cache` beside the records
            },
        }
    )
    config.align = ConfigDict(
        {
            # Weights of the losses that align modalities (papers' section 5.3); 0 = without. In units of the task's loss.
            "report": 0.1,  # A: InfoNCE of image and report over the batch of all devices
            "words": 0.1,  # B: of each word and what it attends to in the image
            "local": "cosine",  # B is contrast (words find more in their own image than others do: InfoNCE) | cosine (1 - cosine)
            "most_words": 512,  # of a report that a step contrasts, drawn anew each time
            "clinical": 0.0,  # C: InfoNCE of image and clinical columns
            "matching": 0.0,  # binary: does this report belong to this image, against the two hardest others of the batch
            "own": 0.0,  # the tasks' losses of each modality's own logits, which are added to the merged ones
            "temperature": 0.07,  # of InfoNCE at the beginning; it is learned
        }
    )
