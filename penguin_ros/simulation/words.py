# SPDX-License-Identifier: Apache-2.0
"""Every phrase that captions, questions and answers are made of, as tables."""

from __future__ import annotations

NUMBERS = ('zero', 'one', 'two', 'three', 'four', 'five')
PLURALS = {'box': 'boxes', 'ball': 'balls', 'cylinder': 'cylinders', 'cone': 'cones'}

AFTER_NOUN = {
    'still': ('', ' standing still'),
    'left': (' moving left', ' that moves left'),
    'right': (' moving right', ' that moves right'),
    'toward': (' coming closer', ' that comes closer'),
    'away': (' moving away', ' that moves away'),
    'circle': (' moving in a circle', ' that moves in a circle'),
    'stopped': (' that stopped', ' that moved and stopped'),
    'appeared': (' that appeared', ' that came into view'),
}
"""What follows 'a red box' in a caption; the first of each is the plainest."""

GONE = ('left the view', 'is gone')
"""What follows 'A red box' in a sentence of its own."""
EMPTY = ('There is nothing.', 'I see nothing.')
ONE = ('There is one thing: {list}.', 'I see one thing: {list}.')
SEVERAL = (
    'There are {number} things. From left to right: {list}.',
    'I see {number} things, from left to right: {list}.',
    '{Number} things from left to right: {list}.',
)

DOES = {
    'still': 'It stands still.',
    'left': 'It moves left.',
    'right': 'It moves right.',
    'toward': 'It comes closer.',
    'away': 'It moves away.',
    'circle': 'It moves in a circle.',
    'stopped': 'It stopped.',
    'appeared': 'It appeared.',
    'gone': 'It left the view.',
}
IS_IT = {
    'left': ('Does the {thing} move left?', 'Is the {thing} moving left?'),
    'right': ('Does the {thing} move right?', 'Is the {thing} moving right?'),
    'toward': ('Does the {thing} come closer?', 'Is the {thing} coming closer?'),
    'away': ('Does the {thing} move away?', 'Is the {thing} moving away?'),
    'circle': ('Does the {thing} move in a circle?', 'Is the {thing} moving in a circle?'),
    'still': ('Does the {thing} stand still?', 'Is the {thing} standing still?'),
    'stopped': ('Did the {thing} move and stop?',),
    'appeared': ('Did the {thing} appear?',),
}

COLOUR_OF = (
    'What colour is the {shape}?',
    'Which colour does the {shape} have?',
    'Name the colour of the {shape}.',
)
COLOUR_AT = ('What colour is the {end} thing?', 'Which colour does the {end} thing have?')
SHAPE_OF = (
    'What shape is the {colour} thing?',
    'What is the {colour} thing?',
    'Which shape does the {colour} thing have?',
)
SHAPE_AT = ('What shape is the {end} thing?', 'Which shape does the {end} thing have?')
COUNT = ('How many things are there?', 'How many things do you see?', 'Count the things.')
COUNT_OF = ('How many {plural} are there?', 'How many {plural} do you see?')
MOTION = (
    'What does the {thing} do?',
    'How does the {thing} move?',
    'Describe the motion of the {thing}.',
)
POSITION = (
    'Is the {thing} left or right of the {other}?',
    'On which side of the {other} is the {thing}?',
)
ENDS = {0: ('leftmost', 'on the far left'), -1: ('rightmost', 'on the far right')}
ORDER_END = ('Which thing is {end}?', 'What is {end}?')
ORDER_ALL = ('Name the things from left to right.', 'What is there from left to right?')
EXISTS = ('Is there a {thing}?', 'Do you see a {thing}?')
COUNT_IS = ('Are there {number} things?', 'Do you see {number} things?')
SIDE_IS = ('Is the {thing} {side} of the {other}?',)
CHANGED = ('What changed?', 'What moved or changed?', 'Which things changed?')

UNKNOWABLE = (
    'What colour is the dog?',
    'Where is the door?',
    'Who is behind the camera?',
    'What time is it?',
    'What does the sign say?',
    'What is the name of the robot?',
    'Is the person happy?',
    'How many people are behind the wall?',
    'Which way does the car move?',
    'How heavy is the {thing}?',
    'What is inside the {thing}?',
    'Who made the {thing}?',
    'How much does the {thing} cost?',
    'What is behind the camera?',
    'Is the {thing} warm or cold?',
    'What sound does the {thing} make?',
)
CANNOT_SEE = 'I cannot see that.'
NOTHING, YES, NO = 'Nothing.', 'Yes.', 'No.'
SIDES = ('left', 'right')
