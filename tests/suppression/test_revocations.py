"""Which replies may be a revocation in other words, and are for a person to read."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.suppression.keywords import _PLAIN, keyword_of
from sender.suppression.reply_text import LONGEST
from sender.suppression.revocations import may_be_revocation

HELD = [
    # leave me alone
    "please leave me alone", "Leave me alone!", "LEAVE ME THE F*** ALONE", "leave me the hell alone", "Just leave us alone",
    "Please. Leave me be", "go away", "Go away!!", "please just go away", "get lost", "Fuck off", "F*ck you", "fuck you", "piss off",
    "enough", "That's enough.", "go to hell",
    # lists, numbers, data
    "take me off your list", "Take me off this list please", "Please take my number off your list", "remove me", "Remove me from the list",
    "remove my number", "REMOVE MY NUMBER FROM YOUR DATABASE", "delete my number", "please delete my phone number", "Delete me",
    "erase my data", "lose my number", "Lose this number!", "get me off this list", "I want off your list", "off this list please",
    "how do I get off of this list", "put me on your do not call list", "Do not text list please", "keep me off your texts",
    "sign me off of this", "Unsubscribe me please", "how do I unsubscribe?", "I would like to unsubscribe from these", "unsuscribe",
    "I already unsubscribed!", "I wish to opt out of this", "opt me out", "how do i opt-out", "I opted out last week", "opting out",
    # stop ... texting
    "Please stop texting me", "stop texting", "STOP TEXTING THIS NUMBER", "Stop sending me these messages", "can you stop messaging me",
    "quit texting me", "quit sending me this crap", "cease all contact", "stop contacting me", "please stop calling and texting", "Stop spamming me",
    "Stop bothering me", "stop the spam", "stop all messages", "stop these damn texts", "stop with the texts", "Could you please stop sending texts?",
    "STOP, I never signed up", "stop I never signed up for this", "STOP -Ada", "Stop Ada Lovelace", "stop to end", "STOP 2 END", "STOP to opt out",
    "please just stop", "make it stop", "I want this to stop", "make these stop", "stop it", "Stop this now", "I said stop", "I already texted STOP twice",
    "How many times do I have to say stop", "I told you to stop", "stop already", "Stop. It. Now. stop it", "stop pls stop it",
    "stoppp", "stpo", "Sotp", "STP", "stop sms", "1 STOP", "STOP 2", "no stop", "Text STOP", "reply stop", "UNSUBSCRIBE ME", "S\u200btop sms", "Re: leave me alone", "unsubscibe",
    # do not ... text
    "Don't text me", "do not text me again", "Dont text me anymore", "DO NOT CONTACT ME", "Do not message me ever again", "never text me again",
    "please do not contact this number again", "don’t message me", "dont call me", "do not call this number", "Do not disturb", "do not text",
    "don't send me any more messages", "Do not send anything", "don't send these anymore", "stop and dont text again", "no longer contact me",
    "no more texts", "No more messages please", "no more spam", "no further messages", "no texts", "No messages please", "no more promotional texts",
    "I don't want these messages", "I do not want to receive texts from you", "I no longer want your texts", "don't want to be contacted", "I never wanted this spam",
    "I don't need these alerts", "I do not wish to receive any more emails or texts", "I don't want to hear from you",
    "Why do you keep texting me?", "why am I still getting these", "too many texts", "sick of these messages", "I'm tired of your texts", "tired of your spam",
    # no consent, not theirs, not interested
    "I never signed up for this", "I didn't sign up", "I did not consent to this", "I never opted in", "I never gave you my number", "I do not consent",
    "I revoke my consent", "I withdraw my permission to be texted", "I hereby revoke consent", "I didn't ask for this", "not interested", "Not interested, thanks",
    "I'm not interested", "no longer interested", "No interest", "wrong number", "You have the wrong number", "Sorry wrong person", "wrong phone number",
    "this isn't his number", "this is no longer her number", "That is not my mom's number anymore",
    # threats, labels
    "this is spam", "SPAM", "You are a spammer", "your texts are harassment", "reporting you to the FCC", "I will report this as spam",
    "I reported you", "I'm blocking you", "blocked this number", "this violates the TCPA", "I'll sue you", "cease and desist",
    # subscriptions to the texts
    "cancel these texts", "cancel my text subscription", "Cancel my subscription", "please end these messages", "turn off notifications", "disable alerts",
    "🖕", "🛑🛑",
    # with a tail
    "leave me alone\nSent from my iPhone", "Please take me off\nyour list\n> Acme: sale today", "remove me “Acme: sale today, reply STOP to quit”",
    "Hi, this is Ada. I moved away last year; please remove me. Thanks", "I don't like it and remove me",
    # the sentence before denies something else
    "I do not like them. Stop texting me", "Why not? Remove me", "I do not like these\nleave me alone", "I don't know you! Delete my number",
    # Spanish
    "No me manden más mensajes", "no me envíen mensajes", "no quiero más mensajes", "No quiero recibir mensajes de texto", "ya no quiero recibir promociones",
    "déjenme en paz", "Dejame en paz por favor", "dejen de mandarme mensajes", "deja de escribirme", "Dejen de molestar", "paren de enviar mensajes",
    "quítenme de la lista", "Quiteme de su lista", "bórrenme", "elimíneme de su lista", "saquen mi número de su lista", "eliminen mi numero", "borra mi número por favor",
    "no me escriban", "no me escriba más", "nunca me contacten", "no me molesten", "ya no me llamen", "no estoy interesada", "No me interesa", "número equivocado",
    "se equivoca de número", "persona equivocada", "quiero darme de baja", "quiero desuscribirme", "cancelar mi suscripción", "no más publicidad",
    "¡Basta!", "basta ya", "nunca me suscribí", "no autoricé esto", "vete al carajo",
    # French
    "Laissez-moi tranquille", "laisse moi tranquille svp", "Foutez-moi la paix", "fichez nous la paix", "arrêtez de m'envoyer des messages", "Arrêtez de m’écrire",
    "arrete de me contacter", "cessez de m'envoyer des SMS", "stop de m'envoyer", "ne m'écrivez plus", "ne m'envoyez plus rien", "Ne me contactez plus",
    "ne plus me contacter", "Merci de ne plus m'envoyer de SMS", "plus de messages svp", "plus jamais de pub", "pas de pub", "Je ne veux plus recevoir de messages",
    "je ne souhaite plus être contacté", "je veux plus de vos sms", "retirez-moi de la liste", "enlevez mon numéro", "Supprimez mes coordonnées", "supprimez moi de votre liste",
    "désabonnez-moi", "je veux me désabonner", "je me désinscris", "désinscrivez-moi", "annulez mon abonnement", "pas intéressé", "Pas intéressée merci", "mauvais numéro",
    "faux numéro", "vous vous trompez de numéro", "je n'ai jamais donné mon accord", "je n'ai jamais demandé ça, je n'ai jamais consenti", "lâchez-moi", "allez vous faire foutre",
    # German
    "Lass mich in Ruhe", "Lassen Sie mich bitte in Ruhe", "lasst uns in ruhe", "Hören Sie auf", "hör auf mir zu schreiben", "Bitte aufhören", "hoert auf",
    "keine Nachrichten mehr", "Keine SMS mehr bitte", "bitte keine Werbung", "keine Werbung", "Ich möchte keine Nachrichten mehr", "ich will keine SMS", "Schreiben Sie mir nicht mehr",
    "schreibt mir nie wieder", "bitte nicht mehr schreiben", "nie wieder anschreiben", "Bitte löschen Sie meine Nummer", "Löscht meine Daten", "loeschen sie meine nummer",
    "Nehmen Sie mich von der Liste", "streichen Sie mich aus Ihrer Liste", "aus dem Verteiler: nehmt mich aus dem Verteiler", "bitte mich abmelden", "ich möchte mich abmelden",
    "wie kann ich mich austragen", "Newsletter abbestellen", "kein Interesse", "Nicht interessiert", "falsche Nummer", "Sie haben die falsche Nummer", "Falsch verbunden",
    "Ich widerrufe meine Einwilligung", "ich habe nie zugestimmt", "Verpisst euch", "Das ist Belästigung",
]  # fmt: skip

NOT_HELD = [
    # small talk and answers
    "Yes", "yes please", "No", "no thanks", "No thank you!", "Ok", "K", "thanks", "Thank you so much!", "👍", "❤️", "lol", "haha", "Who is this?", "who dis", "new phone who dis",
    "What is this about?", "Hello?", "Hi", "maybe", "Great!", "Perfect, see you then", "I love these texts", "More please", "HELP", "info", "1", "2", "Y", "C", "confirm",
    "Confirmed", "Yes I'll be there", "interested", "I'm interested", "Very interested!", "Can you call me?", "please call me", "text me later", "Text me the address",
    "send me the link", "Send it again please", "can you resend the code", "I didn't get the code", "no code came", "what's my balance", "how much?", "where are you located",
    # appointments
    "Cancel my appointment", "I need to cancel", "please cancel tomorrow", "Can I cancel and rebook?", "cancel my order please", "I can't make it", "Can't come Tuesday, sorry",
    "I have to reschedule", "please move my appointment to Friday", "I'll be late", "I won't be able to come", "what time does it end?", "when does the sale end",
    "remove one guest", "remove the onions please", "take me to the airport", "take it off the menu", "take 10% off", "Please take the blue one off the order",
    "I'll take two", "leave it at the door", "Leave the package with the neighbor", "please leave me a voicemail", "leave me a message", "let me be the judge", "delete the second item",
    "put me on the list", "Add me to your list", "am I on the list?", "keep me posted", "keep me on the list", "Please keep texting me", "keep them coming", "end of the week works",
    "quit while you're ahead", "I quit smoking!", "the size is off", "wrong color", "wrong time, sorry", "it's the wrong side of town",
    # stop, but not that
    "don't stop", "don't stop texting me", "Please don't stop sending these", "never stop texting", "stop by at 5", "Can you stop by on Monday?", "I'll stop by", "stop over at ours",
    "bus stop", "at the stop sign", "stop at the store", "nonstop fun", "one stop shop", "the bus did stop", "stop in for coffee", "does the train stop there", "can't stop laughing", "stop kidding",
    "the rain won't stop", "did the offer stop", "Stop sent by mistake", "I didn't mean to text stop", "I texted STOP by accident", "sorry, unsubscribed by mistake", "start",
    # negations and the other way round
    "don't remove me", "please do not take me off the list", "Please don't unsubscribe me", "do not delete my number please", "never remove me from this list",
    "I don't want to miss these messages", "I don't want to miss any texts", "don't leave us hanging", "no no keep me", "I didn't opt out",
    "Don't call me, text me", "don't call, just text", "call me", "I did not unsubscribe", "why did I not get a text?", "I haven't unsubscribed",
    "is this spam?", "Is it a scam?", "you have the right number", "yes that's my number", "This is my number", "my new number is 555", "my number changed",
    "I don't have the app", "I don't understand", "I do not live there yet", "I don't know", "not yet", "not now", "not sure", "I have not received a text yet", "I got no message",
    "I didn't sign up yet, how do I?", "do you agree?", "I agree", "I don't care which", "didn't want to bother you", "sorry to bother you", "I need this", "we go away on Monday",
    "the alarm will go off at 6", "get well soon", "we might get lost, send directions", "block party at 5?", "we're on your block", "report is attached",
    # quotes and tails
    "Yes\n> stop texting me? Acme", "Liked “Reply STOP to opt out or leave me alone”", "Thanks\n--\nOpt-Out Officer", "Sent from my iPhone", "> take me off your list\nYes please",
    # Spanish
    "Sí", "gracias", "No gracias", "no me llegó el código", "no me mandaron el código", "quiero más información", "Me interesa", "estoy interesada", "¿me interesa, cuánto cuesta?",
    "no me borren de la lista", "no me quiten de la lista", "cancelar mi cita", "mándame un mensaje", "envíenme más promociones", "llámame mañana", "no puedo ir", "déjame pensarlo",
    "déjenme un mensaje", "quiero dos", "para mañana", "parada de bus", "mi número es otro", "¿quién es?", "no quiero perder la cita", "no entiendo", "más tarde", "baja el precio?",
    # French
    "Oui", "non merci", "d'accord", "Laissez-moi un message", "envoyez-moi le lien", "je suis intéressé", "Intéressée !", "ne me retirez pas de la liste", "n'arrêtez pas de m'envoyer des messages",
    "annulez mon rendez-vous", "je n'ai pas reçu le code", "j'ai pas de message", "plus d'infos svp", "c'est à quel arrêt ?", "j'arrête le travail à 18h", "appelez-moi", "je serai en retard",
    "mon nouveau numéro", "à plus", "plus tard", "ça m'intéresse", "pas de souci", "pas de problème",
    # German
    "Ja", "nein danke", "gerne", "Schreiben Sie mir morgen", "ich bin interessiert", "Interesse!", "Ich habe keine Nachricht bekommen", "Kein Problem", "Bitte Termin absagen",
    "ich muss mein Kind abmelden", "Wann hört das auf?", "Nehmen Sie mich mit?", "nehmen Sie mich bitte nicht von der Liste", "Löschen Sie den zweiten Artikel", "Ruf mich an",
    "Ich kann leider nicht kommen", "Bin gleich da", "meine neue Nummer", "Lass mich überlegen", "Bitte nicht vor 9 Uhr", "Haltestelle", "ich höre", "Wie lange noch?",
    "", "   ", None, "\n>\n", "a" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("text", HELD)
def test_a_revocation_in_other_words_is_held(text: str) -> None:
    assert may_be_revocation(text)


@pytest.mark.parametrize("text", NOT_HELD)
def test_what_is_no_revocation_is_not(text: str | None) -> None:
    assert not may_be_revocation(text)


def test_the_tables_are_long_and_without_repetition() -> None:
    assert len(HELD) == len(set(HELD)) >= 200
    assert len(NOT_HELD) == len(set(NOT_HELD)) >= 180


def test_case_and_dress_do_not_matter() -> None:
    for text in ("please leave me alone", "take me off your list", "ne m'écrivez plus", "Lass mich in Ruhe"):
        for dressed in (
            text.upper(),
            f"  “{text}”!!",
            f"{text} 😡",
            text.replace(" ", "  "),
            f"Hi\n{text}\nAda",
            text.replace("'", "’"),
        ):
            assert may_be_revocation(dressed), dressed


@given(st.text(max_size=300))
def test_no_text_fails(text: str) -> None:
    may_be_revocation(text)


@given(st.sampled_from(sorted(_PLAIN)), st.sampled_from(["I never signed up", "Ada", "you"]))
def test_a_stop_with_more_behind_it_is_heard_or_held(word: str, more: str) -> None:
    if word in {"stop", "unsubscribe", "unsub", "optout", "opt out"}:
        text = f"{word} {more}"
        assert keyword_of(text) or may_be_revocation(text), text


@pytest.mark.parametrize(
    "text",
    ["stop " * 400, "dont want " * 200, "a " * 1000, "no me " * 333, "x" * LONGEST, "keine " * 333, "why " * 500],
)
def test_long_texts_are_read_at_once(text: str) -> None:
    begun = time.process_time()
    may_be_revocation(text)
    assert time.process_time() - begun < 0.5
